#define DEV_CTRL_RST BIT(31) /* Reset */
#define DEV_LIMIT 0x40
