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

/* How many bytes the function at an address has, or 0: the other figure of the same text. */
u64 glue_function_size(u64 address)
{
	char symbol[KSYM_SYMBOL_LEN];
	u64 offset, size;

	sprint_symbol(symbol, address);
	/* Names have no blanks and no plus sign. */
	if (sscanf(strchrnul(symbol, '+'), "+%llx/%llx", &offset, &size) != 2)
		return 0;
	return size;
}
