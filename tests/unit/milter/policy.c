#include <criterion/criterion.h>

Test(policy, nothing)
{
}
