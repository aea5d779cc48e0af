/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef SYNGUARD_MAPS_H
#define SYNGUARD_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

#define ARRAY(name_, value_, entries_, flags_)                                                         \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                      \
		__uint(max_entries, entries_);                                                         \
		__uint(map_flags, flags_);                                                             \
		__type(key, __u32);                                                                    \
		__type(value, value_);                                                                 \
	} name_ SEC(".maps")

#define PER_CPU(name_, value_, entries_)                                                               \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                               \
		__uint(max_entries, entries_);                                                         \
		__type(key, __u32);                                                                    \
		__type(value, value_);                                                                 \
	} name_ SEC(".maps")

#define HASH(name_, type_, key_, value_, entries_, flags_)                                             \
	struct {                                                                                       \
		__uint(type, type_);                                                                   \
		__uint(max_entries, entries_);                                                         \
		__uint(map_flags, flags_);                                                             \
		__type(key, key_);                                                                     \
		__type(value, value_);                                                                 \
	} name_ SEC(".maps")

/* Written by the agent. */
ARRAY(settings, struct settings, 1, 0);
ARRAY(held, struct held, 1, 0);
ARRAY(slots, struct slots, 1, BPF_F_MMAPABLE);
ARRAY(ports, struct port, SLOTS, 0);
ARRAY(bans, struct ban, BANS, 0);
ARRAY(after, __u32, BANS, 0);           /* the ban beside which another may concern the same SYN: that one; 0: none */
HASH(networks4, BPF_MAP_TYPE_LPM_TRIE, struct network, __u32, NETWORKS, BPF_F_NO_PREALLOC);     /* the first ban; */
HASH(networks6, BPF_MAP_TYPE_LPM_TRIE, struct network, __u32, NETWORKS, BPF_F_NO_PREALLOC);     /* BANS: protected */
HASH(headers, BPF_MAP_TYPE_HASH, struct header, __u32, HEADERS, BPF_F_NO_PREALLOC);
HASH(proven, BPF_MAP_TYPE_HASH, struct address, __u64, PROVEN, BPF_F_NO_PREALLOC);
ARRAY(perhaps_proven, struct proven_bits, 1, 0);

/* The agent's own notes, which the program does not read: the next agent finds them here. */
ARRAY(notes, struct note, BANS, 0);
HASH(links, BPF_MAP_TYPE_HASH, __u32, struct link, 1024, BPF_F_NO_PREALLOC);

/* Written by the program. */
ARRAY(tokens, __u64, BANS, 0);
ARRAY(onsets, struct onset, SLOTS, 0);
ARRAY(manners, struct manner, SLOTS * FAMILIES * MANNERS, 0);
PER_CPU(port_counts, struct port_count, SLOTS);
PER_CPU(ban_counts, struct ban_count, BANS);
HASH(sources, BPF_MAP_TYPE_LRU_HASH, struct source, struct sighting, SOURCES, 0);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WAKES_BYTES);
} wakes SEC(".maps");

PER_CPU(listeners, struct listener, LISTENERS);
PER_CPU(passed, __u64, SLOTS * FAMILIES * MANNERS);     /* when a SYN last reached the listener of this number */

/* Return a port's number with a bound that the verifier of Linux 6.1 sees too, wherever it was kept meanwhile. */
static __always_inline __u32 bounded(__u32 port)
{
	barrier_var(port);
	return port & (PORTS - 1);
}

static __always_inline void *at(void *map, __u32 index)
{
	return bpf_map_lookup_elem(map, &index);
}

/* Return the number of the listener of a port, family and address; those of two addresses may share one. */
static __always_inline __u32 number_of(__u32 slot, __u32 family, const struct address *local)
{
	__u32 mixed = bpf_ntohl(local->word[0] ^ local->word[1] ^ local->word[2] ^ local->word[3]);

	mixed ^= mixed >> 16;
	mixed ^= mixed >> 8;
	mixed ^= mixed >> 4;
	return (slot * FAMILIES + (family == V4 ? V4 : V6)) * MANNERS + (mixed & (MANNERS - 1));
}

#endif
