/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * SYNs of challenged targets are answered at the interface with the kernel's own SYN cookies; the listener itself
 * accepts the ACK. Counts SYNs, wakes the agent when they become many, and learns from the listeners' own SYN-ACKs how
 * to answer. See docs/decisions/0033-challenge-program.md.
 *
 * What it does not decide it leaves to the next filter and to the stack (TC_ACT_UNSPEC).
 */
#include "answer.h"
#include "learn.h"

#define ENOUGH_PASSED 1000000           /* ns between two SYNs that pass to learn the window scale */
#define PLACE_KEPT 10000000             /* ns for which what was asked of an address and port is believed */

enum place { ELSEWHERE, CLOSED, LISTENS, CONNECTED };

/*
 * Take from a bucket that fills by one each interval; the time at which it is full again is its only state (GCRA).
 * What is refused writes nothing, so a flood on many CPUs does not fight over the cache line.
 */
static __always_inline bool take(__u64 *full_at, __u64 now, __u64 interval, __u64 burst)
{
	__u64 old = *full_at, from = old > now ? old : now;

	if (from - now > burst)
		return false;
	return __sync_bool_compare_and_swap(full_at, old, from + interval);
}

static __always_inline void wake_on_onset(const struct port *port, __u32 slot, const struct settings *settings,
					  __u64 now)
{
	struct onset *onset = at(&onsets, slot);
	struct wake wake = {};

	if (!onset || !port->onset || now < onset->quiet_until)
		return;
	if (now - onset->since > settings->onset_window) {
		onset->since = now;
		onset->syns = 0;
	}
	if (__sync_fetch_and_add(&onset->syns, 1) + 1 < port->onset)
		return;
	onset->quiet_until = now + settings->onset_quiet;
	wake.at = now;
	wake.port = port->number;
	wake.syns = port->onset;
	bpf_ringbuf_output(&wakes, &wake, sizeof(wake), 0);
}

static __always_inline void count_source(const struct syn *syn, __u32 mask)
{
	struct source key = { .address = syn->source, .port = syn->port };
	struct sighting *seen;

	if (mask && bpf_get_prandom_u32() & mask)
		return;
	seen = bpf_map_lookup_elem(&sources, &key);
	if (seen) {
		__sync_fetch_and_add(&seen->syns, mask + 1);
	} else {
		struct sighting first = {
			.syns = mask + 1,
			.options = syn->options.layout,
			.window = syn->window,
			.mss = syn->options.mss,
			.length = syn->length,
			.ttl = syn->ttl,
			.family = syn->family,
		};

		bpf_map_update_elem(&sources, &key, &first, BPF_ANY);
	}
}

/* A walk along bans that may concern a SYN, from a narrow target to ever wider ones. */
struct search {
	struct address source;
	__u64 now;
	__u32 slot;
	__u32 ttl;
	__u32 next;
	__u32 found;            /* the first one of the hardest step; 0: none */
	__u32 step;
};

static __always_inline bool concerns(const struct ban *ban, const __u32 *from, __u32 ttl, __u32 slot, __u64 now)
{
	if (ban->deadline <= now || !(ban->ports[(slot >> 6) & (SLOTS / 64 - 1)] >> (slot & 63) & 1))
		return false;
	return !ban->ttl_high ||
	       (ttl >= ban->ttl_low && ttl <= ban->ttl_high &&
		(from[0] & ban->mask.word[0]) == ban->network.word[0] &&
		(from[1] & ban->mask.word[1]) == ban->network.word[1] &&
		(from[2] & ban->mask.word[2]) == ban->network.word[2] &&
		(from[3] & ban->mask.word[3]) == ban->network.word[3]);
}

static long walk_ban(__u32 number, struct search *search)
{
	struct ban *ban = at(&bans, search->next);
	__u32 *following = at(&after, search->next);

	if (!search->next || !ban || !following)
		return 1;
	if (ban->step > search->step &&
	    concerns(ban, search->source.word, search->ttl, search->slot, search->now)) {
		search->found = search->next;
		search->step = ban->step;
	}
	search->next = *following;
	return 0;
}

/* Return which ban, of one and those after it, is carried out: the hardest step, of the narrowest target; 0: none. */
static __always_inline __u32 hardest(const struct syn *syn, __u32 first, __u32 slot, __u64 now)
{
	struct ban *ban = first ? at(&bans, first) : NULL;
	__u32 *following = first ? at(&after, first) : NULL;

	if (!ban || !following)
		return 0;
	if (*following) {
		struct search search = {
			.source = syn->source, .now = now, .slot = slot, .ttl = syn->ttl, .next = first,
		};

		bpf_loop(BANS, walk_ban, &search, 0);
		return search.found;
	}
	return concerns(ban, syn->source.word, syn->ttl, slot, now) ? first : 0;
}

static __always_inline __u32 by_header(const struct syn *syn, __u32 slot, __u64 now)
{
	struct header key = {
		.options = syn->options.layout,
		.window = syn->window,
		.mss = syn->options.mss,
		.length = syn->length,
		.family = syn->family,
	};
	__u32 *first = bpf_map_lookup_elem(&headers, &key);

	return first ? hardest(syn, *first, slot, now) : 0;
}

/* Return the first ban of a SYN's source; 0: none, BANS: it is protected. */
static __always_inline __u32 by_source(const struct syn *syn)
{
	struct network key;
	__u32 *first;

	if (syn->family == V4) {
		key.length = 32;
		__builtin_memcpy(key.address, &syn->source.word[3], 4);
		__builtin_memset(key.address + 4, 0, 12);
		first = bpf_map_lookup_elem(&networks4, &key);
	} else {
		key.length = 128;
		__builtin_memcpy(key.address, &syn->source, 16);
		first = bpf_map_lookup_elem(&networks6, &key);
	}
	return first ? *first : 0;
}

static __always_inline __u32 by_address(const struct syn *syn, __u32 of_source, const struct port *port, __u32 slot,
					__u64 now)
{
	__u32 number = hardest(syn, of_source, slot, now);

	return number ? number : hardest(syn, port->everybody[syn->family == V4 ? V4 : V6], slot, now);
}

/* Return the ban that a SYN is under: one of its header, else of its source, else of everybody on its port; 0: none. */
static __always_inline __u32 ban_of(const struct syn *syn, const struct port *port, __u32 slot, __u64 now)
{
	struct held *there = at(&held, 0);
	__u32 of_source, number = 0;

	if (!there || !there->bans)
		return 0;
	of_source = by_source(syn);
	if (of_source == BANS)
		return 0;
	if (there->headers)
		number = by_header(syn, slot, now);
	return number ? number : by_address(syn, of_source, port, slot, now);
}

/* Return what the socket table has for a SYN; ELSEWHERE: nothing. */
static __always_inline enum place socket_of(struct __sk_buff *skb, const struct syn *syn)
{
	struct bpf_sock_tuple tuple;
	enum place place;
	struct bpf_sock *sk;

	if (syn->family == V4) {
		tuple.ipv4.saddr = syn->source.word[3];
		tuple.ipv4.daddr = syn->target.word[3];
		tuple.ipv4.sport = syn->source_port;
		tuple.ipv4.dport = syn->target_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &syn->source, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &syn->target, 16);
		tuple.ipv6.sport = syn->source_port;
		tuple.ipv6.dport = syn->target_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return ELSEWHERE;
	place = sk->state == BPF_TCP_LISTEN ? LISTENS : CONNECTED;
	bpf_sk_release(sk);
	return place;
}

/* Whether a packet is for this host, not one to forward; listeners on all addresses listen on those of others too. */
static __noinline bool is_to_here(struct __sk_buff *skb, __u32 link, __u32 family)
{
	struct bpf_fib_lookup route = { .family = family == V4 ? 2 : 10, .ifindex = skb->ifindex };
	int fib;

	if (family == V4 ? bpf_skb_load_bytes(skb, link + offsetof(struct iphdr, saddr), &route.ipv4_src, 4) ||
				   bpf_skb_load_bytes(skb, link + offsetof(struct iphdr, daddr), &route.ipv4_dst, 4)
			 : bpf_skb_load_bytes(skb, link + offsetof(struct ipv6hdr, saddr), route.ipv6_src, 16) ||
				   bpf_skb_load_bytes(skb, link + offsetof(struct ipv6hdr, daddr), route.ipv6_dst, 16))
		return false;
	fib = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	return fib == BPF_FIB_LKUP_RET_NOT_FWDED || fib == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Return where this CPU notes what it knows of the target's address and port. Others may share it, one at a time. */
static __always_inline struct listener *listener_of(const struct syn *syn)
{
	const __u32 *to = syn->target.word;
	__u32 mixed = (to[0] ^ to[1] ^ to[2] ^ to[3] ^ syn->port) * 2654435761u;

	return at(&listeners, mixed >> (32 - LISTENER_BITS));
}

static __always_inline bool is_of(const struct listener *listener, const struct syn *syn, __u32 ifindex)
{
	const __u32 *one = listener->address.word, *other = syn->target.word;

	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3] &&
	       listener->port == syn->port && listener->ifindex == ifindex;
}

static __always_inline void note_place(struct __sk_buff *skb, const struct syn *syn, struct listener *listener,
				       enum place place, __u64 now)
{
	if (!is_of(listener, syn, listener->ifindex)) {
		listener->address = syn->target;
		listener->port = syn->port;
		listener->passed_at = 0;
	}
	listener->ifindex = skb->ifindex;
	listener->checked_at = now;
	listener->place = place;
}

/*
 * Whether this SYN is to reach the listener, which accepts cookies only if it sent some itself lately. The window scale
 * is learnt by the way: until then one that offers it passes at each tick.
 */
static __always_inline bool is_due(const struct syn *syn, __u32 slot, struct listener *listener,
				   const struct manner *manner, const struct settings *settings, __u64 now)
{
	bool unlearnt = syn->options.has_wscale && !(manner->flags & MANNER_WSCALE);
	__u64 rest = unlearnt ? ENOUGH_PASSED : settings->pass_every, *passed_at;

	if (settings->pass_mask && !(bpf_get_prandom_u32() & settings->pass_mask))
		return true;
	if (now - listener->passed_at < rest)
		return false;
	passed_at = at(&passed, slot ? number_of(slot, syn->family, &syn->target) : syn->port % (FAMILIES * MANNERS));
	if (!passed_at)
		return false;
	if (now - *passed_at < rest) {
		listener->passed_at = *passed_at;
		return false;
	}
	listener->passed_at = *passed_at = now;
	return true;
}

static __always_inline __u64 *proven_peer(const struct syn *syn)
{
	const __u32 *from = syn->source.word;
	__u32 mixed = (from[0] * 3266489917u ^ from[1] * 668265263u ^ from[2] * 374761393u ^ from[3]) * 2654435761u;
	struct proven_bits *bits = at(&perhaps_proven, 0);
	__u32 bit = mixed >> (32 - PROVEN_BITS);

	if (!bits || !(bits->word[bit / 64] >> (bit & 63) & 1))
		return NULL;
	return bpf_map_lookup_elem(&proven, &syn->source);
}

static __always_inline int carry_out(struct __sk_buff *skb, struct syn *syn, __u32 number, __u32 slot,
				     const struct settings *settings, struct port_count *of_port, __u64 now)
{
	struct ban *ban = at(&bans, number);
	struct ban_count *of_ban = at(&ban_counts, number);
	__u64 *tokens_of = at(&tokens, number), *of_peer;
	struct manner *manner = at(&manners, number_of(slot, syn->family, &syn->target));
	struct listener *listener = listener_of(syn);
	enum place place;
	int verdict;
	bool drop, known, here;

	if (!ban || !of_ban || !tokens_of || !manner || !listener)
		return TC_ACT_UNSPEC;
	if (ban->step == LEAVE)
		return TC_ACT_UNSPEC;
	of_peer = ban->refuses_proven || (ban->targeted && ban->step != DROP) ? NULL : proven_peer(syn);
	if (of_peer && ((ban->step == DROP && !ban->ttl_high) ||        /* the firewall has its own list of exceptions */
			take(of_peer, now, settings->proven_interval, settings->proven_burst)))
		goto pass;
	drop = ban->step == DROP || (ban->step == LIMIT && !take(tokens_of, now, ban->interval, ban->burst));
	known = is_of(listener, syn, skb->ifindex) && now - listener->checked_at <= PLACE_KEPT;
	place = drop && known ? listener->place : socket_of(skb, syn);
	if (!(drop && known) && (place == LISTENS || (drop && place == ELSEWHERE))) {
		here = known ? listener->place != ELSEWHERE : is_to_here(skb, syn->link, syn->family);
		place = !here ? ELSEWHERE : place == LISTENS ? LISTENS : CLOSED;
		if (!known)
			note_place(skb, syn, listener, place, now);
	}
	if (drop && place != ELSEWHERE) {
		of_ban->dropped++;
		of_ban->bytes += syn->length;
		of_port->dropped++;
		return TC_ACT_SHOT;
	}
	if (place != LISTENS)
		return TC_ACT_UNSPEC;
	if (is_due(syn, slot, listener, manner, settings, now))
		goto pass;
	verdict = answer(skb, syn, manner, settings, now);
	if (verdict == TC_ACT_REDIRECT) {
		of_ban->answered++;
		of_ban->bytes += syn->length;
		of_port->answered++;
	}
	return verdict;
pass:
	of_ban->passed++;
	of_port->passed++;
	return TC_ACT_UNSPEC;
}

static __always_inline bool find_ack(struct __sk_buff *skb, __u32 link, struct syn *ack)
{
	if (skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return false;
	ack->link = link;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!find_tcp4(skb, TH_ACK, ack))
			return false;
	} else if (skb->protocol != bpf_htons(ETH_P_IPV6) || !find_tcp6(skb, TH_ACK, ack)) {
		return false;
	}
	return true;
}

/* Whether the ACK brings back a cookie of this host, its own or one of ours: they are alike. */
static __always_inline bool is_cookie(struct __sk_buff *skb, const struct syn *ack)
{
	struct tcphdr tcp;

	if (bpf_skb_load_bytes(skb, ack->link + ack->ip, &tcp, sizeof(tcp)))
		return false;
	if (ack->family == V4) {
		struct iphdr ip = { .saddr = ack->source.word[3], .daddr = ack->target.word[3] };

		return !bpf_tcp_raw_check_syncookie_ipv4(&ip, &tcp);
	} else {
		struct ipv6hdr ip = {};

		__builtin_memcpy(&ip.saddr, &ack->source, sizeof(ip.saddr));
		__builtin_memcpy(&ip.daddr, &ack->target, sizeof(ip.daddr));
		return !bpf_tcp_raw_check_syncookie_ipv6(&ip, &tcp);
	}
}

/*
 * While there are bans, count the ACKs that listeners should accept; how many they do accept is the kernel's to count.
 * One with a bad checksum counts here all the same, so the counts are a reason to look, and no proof.
 */
static __always_inline void count_cookie(struct __sk_buff *skb, __u32 link, struct syn *ack)
{
	struct held *there = at(&held, 0);
	struct slots *all = at(&slots, 0);
	struct port_count *count;
	struct port *port;
	struct ban *ban;
	__u32 of_source, slot, number = 0;

	if (!there || !all || !there->bans || !find_ack(skb, link, ack) || !is_cookie(skb, ack))
		return;
	if (socket_of(skb, ack) != LISTENS)
		return;
	slot = all->of_port[bounded(ack->port)];
	port = at(&ports, slot);
	count = at(&port_counts, slot);
	if (!port || !count)
		return;
	of_source = by_source(ack);
	if (of_source != BANS)
		number = by_address(ack, of_source, port, slot, bpf_ktime_get_ns());
	ban = number ? at(&bans, number) : NULL;
	if (ban && ban->step < DROP)
		count->returned++;
	else
		count->others++;
}

static __always_inline int on_ingress(struct __sk_buff *skb, __u32 link)
{
	struct settings *now_set;
	struct port_count *count;
	struct port *port;
	struct slots *all;
	struct syn syn;
	__u32 slot, number;
	__u64 now;

	if (!is_syn(skb, link, &syn)) {
		count_cookie(skb, link, &syn);
		return TC_ACT_UNSPEC;
	}
	now_set = at(&settings, 0);
	all = at(&slots, 0);
	if (!now_set || !all)
		return TC_ACT_UNSPEC;
	slot = all->of_port[bounded(syn.port)];
	port = at(&ports, slot);
	count = at(&port_counts, slot);
	if (!port || !count)
		return TC_ACT_UNSPEC;
	now = bpf_ktime_get_coarse_ns();
	count->syns++;
	wake_on_onset(port, slot, now_set, now);
	number = ban_of(&syn, port, slot, now);
	if (now_set->count_until > now)
		count_source(&syn, number ? now_set->banned_mask : now_set->count_mask);
	return number ? carry_out(skb, &syn, number, slot, now_set, count, now) : TC_ACT_UNSPEC;
}

SEC("tc")
int synguard_in(struct __sk_buff *skb)
{
	return on_ingress(skb, ETH_HLEN);
}

/* For devices without a link header, like tun and WireGuard. */
SEC("tc")
int synguard_in_ip(struct __sk_buff *skb)
{
	return on_ingress(skb, 0);
}

SEC("tc")
int synguard_out(struct __sk_buff *skb)
{
	return on_egress(skb, ETH_HLEN);
}

SEC("tc")
int synguard_out_ip(struct __sk_buff *skb)
{
	return on_egress(skb, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
