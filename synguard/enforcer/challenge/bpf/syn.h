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
#define OPTIONS_WALKED 16       /* as many as the packet sensor walks */

#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_ACK 0x10
#define TH_ECE 0x40
#define TH_CWR 0x80

enum { OPT_END, OPT_PADDING, OPT_MSS, OPT_WSCALE, OPT_SACK, OPT_TIMESTAMP = 8, OPT_MD5 = 19, OPT_AO = 29 };
#define BROKEN 0x100
#define FNV_BASIS 2166136261u
#define FNV_PRIME 16777619u

struct options {
	__u32 raw[16];          /* the whole TCP header, as sent */
	__u32 at, end;
	__u32 layout;           /* a number for kinds in order, MSS and window scale; the same as sensors/packets.py */
	__be32 tsval;
	__u16 mss;              /* 0: not offered, as below */
	__u8 wscale;
	__u8 has_wscale, has_sack, has_timestamp, is_signed;
};

struct syn {
	struct address source, target;
	__u32 link;             /* bytes of link header */
	__u32 ip;               /* bytes of IP header */
	__u32 tcp;              /* bytes of TCP header */
	__u16 port;
	__u16 source_port;      /* network order */
	__u16 window;
	__u16 length;
	__u8 family;
	__u8 ttl;
	__u8 tos;
	__u8 flags;
	struct options options;
};

/* Return size bytes of the packet at offset, made linear if they were not; NULL where the packet is shorter. */
static __always_inline void *header_at(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *start = (void *)(long)skb->data + offset;

	if (start + size <= (void *)(long)skb->data_end)
		return start;
	if (bpf_skb_pull_data(skb, offset + size))
		return NULL;
	start = (void *)(long)skb->data + offset;
	return start + size <= (void *)(long)skb->data_end ? start : NULL;
}

static __always_inline bool has_flags(const void *tcp, __u8 wanted, struct syn *syn)
{
	syn->flags = ((const __u8 *)tcp)[13];
	syn->tcp = ((const struct tcphdr *)tcp)->doff * 4;
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
	if (ip->frag_off & bpf_htons(IP_MORE_OR_OFFSET) || !has_flags(ip + 1, wanted, syn))
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

	if (!ip || ip->version != 6 || ip->nexthdr != IPPROTO_TCP || !has_flags(ip + 1, wanted, syn))
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

/* Whether an answer to this source would be wrong on any network; the stack drops what comes from there. */
static __always_inline bool is_martian(const struct syn *syn)
{
	const __u32 *from = syn->source.word, *to = syn->target.word;

	if (from[0] == to[0] && from[1] == to[1] && from[2] == to[2] && from[3] == to[3])
		return true;
	if (syn->family == V4) {
		__u8 first = bpf_ntohl(from[3]) >> 24;

		return first == 0 || first == 127 || first >= 224;
	}
	return bpf_ntohl(from[0]) >> 24 == 0xff || !(from[0] | from[1] | from[2]);
}

/* Take in one option. A function that bpf_loop calls, as the verifier of Linux 6.1 follows no such loop itself. */
static long walk_option(__u32 number, struct options *options)
{
	const __u8 *raw = (const __u8 *)options->raw;
	__u32 at = options->at & 63, kind, item, size = 1;

	if (at >= options->end)
		return 1;
	item = kind = raw[at];
	if (kind > OPT_PADDING) {
		size = raw[(at + 1) & 63];
		if (at + 1 >= options->end || size < 2 || at + size > options->end) {
			item = BROKEN;
			kind = OPT_END;
		}
	}
	if (kind == OPT_MSS && size == 4) {
		__u8 high = raw[(at + 2) & 63], low = raw[(at + 3) & 63];

		item |= high << 8 | low << 16;
		options->mss = high << 8 | low;
	} else if (kind == OPT_WSCALE && size == 3) {
		options->wscale = raw[(at + 2) & 63];
		options->has_wscale = 1;
		item |= options->wscale << 8;
	} else if (kind == OPT_SACK && size == 2) {
		options->has_sack = 1;
	} else if (kind == OPT_TIMESTAMP && size == 10) {
		options->has_timestamp = 1;
		options->tsval = bpf_htonl(raw[(at + 2) & 63] << 24 | raw[(at + 3) & 63] << 16 |
					   raw[(at + 4) & 63] << 8 | raw[(at + 5) & 63]);
	} else if (kind == OPT_MD5 || kind == OPT_AO) {
		options->is_signed = 1;
	}
	options->layout = (options->layout ^ item) * FNV_PRIME;
	options->at = (at + size) & 63;        /* never beyond end, which is at most 60 */
	return kind == OPT_END;
}

static __always_inline bool read_tcp(struct __sk_buff *skb, struct syn *syn)
{
	struct options *options = &syn->options;
	struct tcphdr *tcp = (struct tcphdr *)options->raw;
	__u32 size = syn->tcp;

	__builtin_memset(options, 0, sizeof(*options));
	if (size < sizeof(*tcp) || size > TCP_MOST)
		return false;
	if (bpf_skb_load_bytes(skb, syn->link + syn->ip, options->raw, size))
		return false;
	syn->port = bpf_ntohs(tcp->dest);
	syn->source_port = tcp->source;
	syn->window = bpf_ntohs(tcp->window);
	options->at = sizeof(*tcp);
	options->end = size;
	options->layout = size > sizeof(*tcp) ? FNV_BASIS : 0;
	bpf_loop(OPTIONS_WALKED, walk_option, options, 0);
	return !options->is_signed;
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
	return read_tcp(skb, syn);
}

/* Whether the packet alone can open a connection, as iptables --syn has it, and is for this host's link address. */
static __always_inline bool is_syn(struct __sk_buff *skb, __u32 link, struct syn *syn)
{
	return skb->pkt_type == PACKET_HOST && is_handshake(skb, link, TH_SYN, syn) && !is_martian(syn);
}

#endif
