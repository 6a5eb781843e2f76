#include <criterion/criterion.h>

Test(input, nothing)
{
}
