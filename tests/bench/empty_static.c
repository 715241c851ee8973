/*
 * empty_static: the program that does nothing. What its start costs, no start can cost less.
 */
int main(void)
{
	return 0;
}
