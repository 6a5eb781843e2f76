#include <criterion/criterion.h>

Test(pipeline, nothing)
{
}
