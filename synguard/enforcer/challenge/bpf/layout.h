/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the program and the agent share: the values of the maps. layout.py is the same in Python; a unit test compares
 * the two by way of the object's type information. All times are CLOCK_MONOTONIC nanoseconds, and the program's clock is
 * the coarse one, which goes by ticks of the kernel (1 to 10 ms).
 */
#ifndef SYNGUARD_LAYOUT_H
#define SYNGUARD_LAYOUT_H

#include <linux/types.h>

#define PORTS 65536
#define SLOTS 256        /* a port that is watched has a slot; slot 0 is every other port */
#define BANS 8192        /* ban 0 is none */
#define NETWORKS 16384   /* of each family: targets, and protected networks */
#define HEADERS 1024
#define PROVEN 65536
#define PROVEN_BITS 17   /* of an address's mixed bits: its place in proven_bits */
#define SOURCES 65536
#define MANNERS 16       /* of each port and family, told apart by the address: neighbours never share one */
#define LISTENER_BITS 8
#define LISTENERS (1 << LISTENER_BITS)  /* listening addresses that each CPU remembers */
#define WAKES_BYTES 4096

enum family { V4, V6, FAMILIES };
enum step { CHALLENGE = 1, LIMIT = 2, DROP = 3, LEAVE = 4 };    /* LEAVE: to the firewall, which refuses it */

/* An address as on the wire; IPv4 is ::ffff:a.b.c.d. */
struct address {
	__u32 word[4];
};

struct settings {
	__u64 layout;           /* of these maps; an agent that knows another one does not adopt them */
	__u64 count_until;      /* sources are counted up to then */
	__u64 pass_every;       /* between two SYNs that reach one listener, on each CPU */
	__u64 proven_interval;  /* what one SYN of a proven peer uses up, */
	__u64 proven_burst;     /* and how far ahead of the clock it may get */
	__u64 onset_window;     /* a port's threshold is about SYNs within this time */
	__u64 onset_quiet;      /* between two wakes for one port */
	__u32 count_mask;       /* one in (mask + 1) SYNs under no ban is counted by source, */
	__u32 banned_mask;      /* and of those under one */
	__u32 timestamps;       /* net.ipv4.tcp_timestamps is 2, so TSval may carry options */
	__u32 pass_mask;        /* one in (mask + 1) SYNs reaches its listener, beside those of pass_every; 0: none */
};

struct held {                   /* written by whoever changes bans; the settings are the agent's alone */
	__u32 bans;             /* 0: look nothing up */
	__u32 headers;          /* 0: no ban is by header */
	__u32 changes;          /* by whichever process, odd while one is under way: who finds another reads anew */
};

struct slots {
	__u8 of_port[PORTS];
};

/*
 * Has the bit of each proven peer, so that for nearly all others the table, a cache miss, need not be asked. 16 KiB: up
 * to 32 KiB the kernel gives an array memory in huge pages, beyond them each look is a miss of the TLB, 90 ns.
 */
struct proven_bits {
	__u64 word[(1 << PROVEN_BITS) / 64];
};

struct port {
	__u32 everybody[FAMILIES];      /* the first ban of everybody on this port; 0: none */
	__u32 onset;            /* SYNs within settings.onset_window that wake the agent; 0: never */
	__u32 number;
};

struct ban {
	__u64 deadline;         /* past it the ban is none */
	__u64 ports[SLOTS / 64];
	__u64 interval;         /* LIMIT: what one answer uses up, */
	__u64 burst;            /* and how far ahead of the clock the target may get */
	struct address network; /* by header only: whose SYNs */
	struct address mask;
	__u32 step;
	__u8 ttl_low;           /* by header only */
	__u8 ttl_high;
	__u8 targeted;          /* not everybody: proven or not, no SYN of it passes a challenge */
	__u8 refuses_proven;    /* DROP: no exception of a proven peer is for this ban */
};

struct network {
	__u32 length;
	__u8 address[16];       /* IPv4: the first four bytes */
};

struct header {
	__u32 options;
	__u16 window;
	__u16 mss;
	__u16 length;           /* of the whole packet */
	__u16 family;
};

struct source {
	struct address address;
	__u16 port;
	__u16 pad;
};

struct sighting {               /* of one source on one port since it was last read */
	__u32 syns;
	__u32 options;
	__u16 window;
	__u16 mss;
	__u16 length;
	__u8 ttl;
	__u8 family;
};

struct port_count {
	__u64 syns, answered, passed, dropped;
	__u64 returned;         /* ACKs that bring a cookie to a listener, of challenged sources */
	__u64 others;           /* and of all others */
};

struct ban_count {
	__u64 answered, passed, dropped, bytes;
};

struct manner {                 /* how the listener of an address and port answers, seen in its own SYN-ACKs */
	__u16 mss;              /* 0: not seen yet */
	__u16 window;
	__u8 ttl;
	__u8 tos;
	__u8 wscale;
	__u8 flags;
} __attribute__((aligned(8)));
#define MANNER_WSCALE 1         /* seen to scale its window, */
#define MANNER_SACK 2           /* to accept selective acknowledgments, */
#define MANNER_ECN 4            /* to accept ECN */

struct onset {
	__u64 since;
	__u64 quiet_until;
	__u64 syns;
};

struct wake {
	__u64 at;
	__u32 port;             /* 0: a port that is not watched */
	__u32 syns;
};

struct listener {               /* what a CPU knows of a local address and port, so that not each SYN asks anew */
	struct address address;
	__u64 checked_at;
	__u64 passed_at;        /* as it stands in passed; 0: look there */
	__u32 ifindex;
	__u16 port;
	__u16 place;
};

struct note {                   /* of a ban */
	__s64 expires_us;       /* wall clock, microseconds since 1970 */
	struct header header;
	__u32 has_header;
	struct network target;
	__u32 family;
	char id[32];            /* empty: this place is free */
};

struct link {                   /* of an interface that the program is attached to */
	__u32 own_clsact;
};

#endif
