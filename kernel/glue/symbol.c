// SPDX-License-Identifier: GPL-2.0
/* Whose an address of the kernel's is. */
#include <linux/kallsyms.h>
#include <linux/string.h>
#include "glue.h"

/*
 * As "function+0x10/0x20 [module]" has it, since modules can't ask for less; nothing for the kernel
 * itself. Zero-padded.
 */
void glue_module_of(u64 address, char name[GLUE_MODULE_LENGTH])
{
	char symbol[KSYM_SYMBOL_LEN];
	char *begin, *end;

	memset(name, 0, GLUE_MODULE_LENGTH);
	sprint_symbol(symbol, address);
	begin = strrchr(symbol, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (end)
		memcpy(name, begin + 1, min_t(size_t, end - begin - 1, GLUE_MODULE_LENGTH - 1));
}

/* The two figures of the same text; false if the address is in no function. */
static bool place_of(u64 address, u64 *offset, u64 *size)
{
	char symbol[KSYM_SYMBOL_LEN];

	sprint_symbol(symbol, address);
	/* Names have no blanks and no plus sign. */
	return sscanf(strchrnul(symbol, '+'), "+%llx/%llx", offset, size) == 2;
}

/* How many bytes the function at an address has, or 0. */
u64 glue_function_size(u64 address)
{
	u64 offset, size;

	return place_of(address, &offset, &size) ? size : 0;
}

/* Where the function that holds an address ends, or 0. */
u64 glue_function_end(u64 address)
{
	u64 offset, size;

	return place_of(address, &offset, &size) ? address - offset + size : 0;
}
