#include <criterion/criterion.h>

Test(verify, nothing)
{
}
