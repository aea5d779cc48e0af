/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* From a packet to a SYN: anything that is not understood whole is not one. */
#ifndef SYNGUARD_SYN_H
#define SYNGUARD_SYN_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

#define PACKET_HOST 0           /* linux/if_packet.h: for this host's link address, no broadcast */
#define IP_MORE_OR_OFFSET 0x3fff
#define TCP_MOST 60
#define OPTIONS_MOST 40
#define OPTIONS_MIXED 16        /* as many as the packet sensor walks */

#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_ACK 0x10
#define TH_ECE 0x40
#define TH_CWR 0x80

/* Options as senders put them together to words, in host order. */
#define MSS_WORD 0x02040000u
#define SACK_TIMESTAMP_WORD 0x0402080au
#define WSCALE_WORD 0x01030300u
#define SACK_WORD 0x01010402u

enum { OPT_END, OPT_PADDING, OPT_MSS, OPT_WSCALE, OPT_SACK, OPT_TIMESTAMP = 8, OPT_MD5 = 19, OPT_AO = 29 };
#define BROKEN 0x100
#define FNV_BASIS 2166136261u
#define FNV_PRIME 16777619u

struct options {
	__u32 layout;           /* a number for kinds in order, MSS and window scale; the same as sensors/packets.py */
	__be32 tsval;
	__u16 mss;              /* 0: not offered, as below */
	__u8 wscale;
	__u8 has_wscale, has_sack, has_timestamp, is_signed;
};

struct walk {
	__u32 raw[16];          /* the whole TCP header, as sent */
	__u32 at, end;
	struct options options;
};

struct syn {
	struct address source, target;
	__be32 sequence;
	__u32 link;             /* bytes of link header */
	__u32 ip;               /* bytes of IP header */
	__u32 tcp;              /* bytes of TCP header */
	__be16 source_port, target_port;
	__u16 port;             /* the target's */
	__u16 window;
	__u16 length;
	__u8 family;
	__u8 ttl;
	__u8 tos;
	__u8 flags;
	struct options options;
};

/* Return size bytes of the packet at offset; NULL where they are not in one piece. */
static __always_inline void *linear_at(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *start = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	barrier_var(start);             /* the fields have 32 bits, and the compiler would go on with 32 */
	barrier_var(end);
	start += offset;
	return start + size <= end ? start : NULL;
}

/* Return the same, made one piece if they were not; NULL where the packet is shorter. */
static __always_inline void *header_at(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *start = linear_at(skb, offset, size);

	if (start || bpf_skb_pull_data(skb, offset + size))
		return start;
	return linear_at(skb, offset, size);
}

/* Take in the fixed part of a TCP header and return whether it has these flags. */
static __always_inline bool has_flags(const struct tcphdr *tcp, __u8 wanted, struct syn *syn)
{
	syn->flags = ((const __u8 *)tcp)[13];
	syn->tcp = tcp->doff * 4;
	syn->source_port = tcp->source;
	syn->target_port = tcp->dest;
	syn->port = bpf_ntohs(tcp->dest);
	syn->sequence = tcp->seq;
	syn->window = bpf_ntohs(tcp->window);
	return (syn->flags & (TH_FIN | TH_SYN | TH_RST | TH_ACK)) == wanted;
}

static __always_inline void mapped(struct address *address, __be32 ipv4)
{
	address->word[0] = address->word[1] = 0;
	address->word[2] = bpf_htonl(0xffff);
	address->word[3] = ipv4;
}

static __always_inline bool find_tcp4(struct __sk_buff *skb, __u8 wanted, struct syn *syn)
{
	struct iphdr *ip = header_at(skb, syn->link, sizeof(*ip) + sizeof(struct tcphdr));

	if (!ip || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
		return false;
	if (ip->frag_off & bpf_htons(IP_MORE_OR_OFFSET) || !has_flags((struct tcphdr *)(ip + 1), wanted, syn))
		return false;
	syn->family = V4;
	syn->ip = sizeof(*ip);
	syn->ttl = ip->ttl;
	syn->tos = ip->tos;
	syn->length = bpf_ntohs(ip->tot_len);
	mapped(&syn->source, ip->saddr);
	mapped(&syn->target, ip->daddr);
	return true;
}

static __always_inline bool find_tcp6(struct __sk_buff *skb, __u8 wanted, struct syn *syn)
{
	struct ipv6hdr *ip = header_at(skb, syn->link, sizeof(*ip) + sizeof(struct tcphdr));

	if (!ip || ip->version != 6 || ip->nexthdr != IPPROTO_TCP || !has_flags((struct tcphdr *)(ip + 1), wanted, syn))
		return false;
	syn->family = V6;
	syn->ip = sizeof(*ip);
	syn->ttl = ip->hop_limit;
	syn->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	syn->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	__builtin_memcpy(&syn->source, &ip->saddr, sizeof(syn->source));
	__builtin_memcpy(&syn->target, &ip->daddr, sizeof(syn->target));
	return true;
}

static __always_inline bool is_group_or_none(__be32 ipv4)
{
	__u8 first = bpf_ntohl(ipv4) >> 24;

	return first == 0 || first == 127 || first >= 224;
}

/* Whether these are no two addresses of a connection on any network; the stack drops what has them. */
static __always_inline bool is_martian(const struct syn *syn)
{
	const __u32 *from = syn->source.word, *to = syn->target.word;

	if (from[0] == to[0] && from[1] == to[1] && from[2] == to[2] && from[3] == to[3])
		return true;
	if (syn->family == V4)
		return is_group_or_none(from[3]) || is_group_or_none(to[3]);
	/* ::/64 has none, one, and those that stand for IPv4 addresses, which here would be taken for these */
	return bpf_ntohl(from[0]) >> 24 == 0xff || bpf_ntohl(to[0]) >> 24 == 0xff || !(from[0] | from[1]) ||
	       !(to[0] | to[1]);
}

static __always_inline void mix(struct options *options, __u32 item)
{
	options->layout = (options->layout ^ item) * FNV_PRIME;
}

static __always_inline void take_mss(struct options *options, __u8 high, __u8 low)
{
	options->mss = high << 8 | low;
	mix(options, OPT_MSS | high << 8 | low << 16);
}

static __always_inline void take_wscale(struct options *options, __u8 wscale)
{
	options->wscale = wscale;
	options->has_wscale = 1;
	mix(options, OPT_WSCALE | wscale << 8);
}

/* Take in one option. A function that bpf_loop calls, as the verifier of Linux 6.1 follows no such loop itself. */
static long walk_option(__u32 number, struct walk *walk)
{
	struct options *options = &walk->options;
	const __u8 *raw = (const __u8 *)walk->raw;
	__u32 at = walk->at & 63, kind, item, size = 1;

	if (at >= walk->end)
		return 1;
	item = kind = raw[at];
	if (kind > OPT_PADDING) {
		size = raw[(at + 1) & 63];
		if (at + 1 >= walk->end || size < 2 || at + size > walk->end) {
			item = BROKEN;
			kind = OPT_END;
		}
	}
	walk->at = (at + size) & 63;            /* never beyond end, which is at most 60 */
	if (number >= OPTIONS_MIXED) {
		options->is_signed |= kind == OPT_MD5 || kind == OPT_AO;
		return kind == OPT_END;
	}
	if (kind == OPT_MSS && size == 4) {
		take_mss(options, raw[(at + 2) & 63], raw[(at + 3) & 63]);
		return 0;
	}
	if (kind == OPT_WSCALE && size == 3) {
		take_wscale(options, raw[(at + 2) & 63]);
		return 0;
	}
	if (kind == OPT_SACK && size == 2) {
		options->has_sack = 1;
	} else if (kind == OPT_TIMESTAMP && size == 10) {
		options->has_timestamp = 1;
		options->tsval = bpf_htonl(raw[(at + 2) & 63] << 24 | raw[(at + 3) & 63] << 16 |
					   raw[(at + 4) & 63] << 8 | raw[(at + 5) & 63]);
	} else if (kind == OPT_MD5 || kind == OPT_AO) {
		options->is_signed = 1;
	}
	mix(options, item);
	return kind == OPT_END;
}

/* Take in the options of a TCP header of size bytes at offset, in any order, and return whether all is understood. */
static __noinline bool walk_options(struct __sk_buff *skb, __u32 offset, __u32 size, struct options *options)
{
	struct walk walk = { .at = sizeof(struct tcphdr), .end = size, .options.layout = FNV_BASIS };

	if (size < sizeof(struct tcphdr) || size > TCP_MOST || bpf_skb_load_bytes(skb, offset, walk.raw, size))
		return false;
	bpf_loop(OPTIONS_MOST, walk_option, &walk, 0);
	*options = walk.options;
	return !options->is_signed;
}

static __always_inline bool like(__be32 word, __u32 wanted, __u32 mask)
{
	return (word & bpf_htonl(mask)) == bpf_htonl(wanted);
}

/*
 * Take in the options of nearly all senders without a walk: MSS alone, and the order in which Linux (MSS, SACK,
 * timestamps, padding, window scale) and Windows (MSS, padding, window scale, padding twice, SACK) write them.
 */
static __always_inline bool is_common(struct __sk_buff *skb, struct syn *syn)
{
	__u32 size = syn->tcp - sizeof(struct tcphdr), offset = syn->link + syn->ip + sizeof(struct tcphdr);
	struct options *options = &syn->options;
	const __u32 *word;
	const __u8 *byte;

	if (size == 20) {
		byte = (const __u8 *)(word = linear_at(skb, offset, 20));
		if (!word || !like(word[0], MSS_WORD, 0xffff0000) || !like(word[1], SACK_TIMESTAMP_WORD, 0xffffffff) ||
		    !like(word[4], WSCALE_WORD, 0xffffff00))
			return false;
		take_mss(options, byte[2], byte[3]);
		mix(options, OPT_SACK);
		mix(options, OPT_TIMESTAMP);
		mix(options, OPT_PADDING);
		take_wscale(options, byte[19]);
		options->has_timestamp = options->has_sack = 1;
		options->tsval = word[2];
		return true;
	}
	if (size == 12) {
		byte = (const __u8 *)(word = linear_at(skb, offset, 12));
		if (!word || !like(word[0], MSS_WORD, 0xffff0000) || !like(word[1], WSCALE_WORD, 0xffffff00) ||
		    !like(word[2], SACK_WORD, 0xffffffff))
			return false;
		take_mss(options, byte[2], byte[3]);
		mix(options, OPT_PADDING);
		take_wscale(options, byte[7]);
		mix(options, OPT_PADDING);
		mix(options, OPT_PADDING);
		mix(options, OPT_SACK);
		options->has_sack = 1;
		return true;
	}
	if (size != 4)
		return false;
	byte = (const __u8 *)(word = linear_at(skb, offset, 4));
	if (!word || !like(word[0], MSS_WORD, 0xffff0000))
		return false;
	take_mss(options, byte[2], byte[3]);
	return true;
}

static __always_inline bool read_options(struct __sk_buff *skb, struct syn *syn)
{
	struct options walked;

	__builtin_memset(&syn->options, 0, sizeof(syn->options));
	if (syn->tcp <= sizeof(struct tcphdr))
		return syn->tcp == sizeof(struct tcphdr);
	syn->options.layout = FNV_BASIS;
	if (is_common(skb, syn))
		return true;
	if (!walk_options(skb, syn->link + syn->ip, syn->tcp, &walked))
		return false;
	syn->options = walked;          /* not in place: a structure whose address is known elsewhere stays in memory */
	return true;
}

/*
 * Fill in *syn and return whether of FIN, SYN, RST and ACK the packet has these flags. IPv4 options, fragments, IPv6
 * extension headers, VLAN tags and TCP signatures are not our business.
 */
static __always_inline bool is_handshake(struct __sk_buff *skb, __u32 link, __u8 wanted, struct syn *syn)
{
	if (skb->vlan_present)
		return false;
	syn->link = link;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!find_tcp4(skb, wanted, syn))
			return false;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!find_tcp6(skb, wanted, syn))
			return false;
	} else {
		return false;
	}
	if (syn->ip + syn->tcp > syn->length || link + syn->length > skb->len || skb->gso_segs > 1)
		return false;
	return read_options(skb, syn);
}

/* Whether the packet alone can open a connection, as iptables --syn has it, and is for this host's link address. */
static __always_inline bool is_syn(struct __sk_buff *skb, __u32 link, struct syn *syn)
{
	return skb->pkt_type == PACKET_HOST && is_handshake(skb, link, TH_SYN, syn) && !is_martian(syn);
}

#endif
