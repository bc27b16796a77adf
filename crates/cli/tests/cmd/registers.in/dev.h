/* A device. */
#define DEV_CTRL		0x0000	/* Control - RW */
#define DEV_STATUS		0x0008	/* Status - RO */
#define  DEV_STATUS_UP		0x1	/* Link is up */
#define DEV_QUEUE(n)		(0x100 + (n) * 0x10)
#define DEV_QUEUE_LEN_SHIFT	4
#define DEV_QUEUE_LEN_MASK	(0xfff << DEV_QUEUE_LEN_SHIFT)
#define DEV_MODE		(0x40 + OTHER)
#define DEV_MAX_QUEUES		16
