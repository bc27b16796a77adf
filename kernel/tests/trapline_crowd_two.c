// SPDX-License-Identifier: GPL-2.0
/* One of two modules that are alike: users of one do not know of those of the other. */
#include "crowd_users.h"
