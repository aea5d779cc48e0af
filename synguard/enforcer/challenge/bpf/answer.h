/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* From a SYN to the SYN-ACK that its listener would send, with the kernel's own cookie, built in place. */
#ifndef SYNGUARD_ANSWER_H
#define SYNGUARD_ANSWER_H

#include <stddef.h>
#include <linux/pkt_cls.h>
#include "syn.h"

#define DEFAULT_WINDOW 64240
#define DEFAULT_TTL 64
#define NO_WSCALE 0xf
#define MOST_WSCALE 14          /* RFC 7323, and what the kernel takes 15 for */
#define COOKIE_SACK 0x10        /* the low six bits of TSval, as net/ipv4/syncookies.c reads them back */
#define COOKIE_ECN 0x20
#define COOKIE_BITS 0x3f
#define NS_PER_MS 1000000

struct answer {
	__u16 pad;
	union {
		struct {
			struct ethhdr ether6;
			struct ipv6hdr ip6;
		} __attribute__((packed));
		struct {
			__u8 unused[sizeof(struct ipv6hdr) - sizeof(struct iphdr)];
			struct ethhdr ether4;
			struct iphdr ip4;
		} __attribute__((packed));
	};
	struct tcphdr tcp;
	__be32 options[5];
};

static __always_inline __u32 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u64 sum_of(const __u32 *words, int count)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

static __always_inline __u64 sum_of_address(const struct address *address)
{
	return (__u64)address->word[0] + address->word[1] + address->word[2] + address->word[3];
}

/* Return TSval: the kernel's clock without offset (tcp_timestamps = 2), never ahead of it, with the client's options. */
static __always_inline __u32 timestamp(const struct syn *syn, bool ecn, __u64 now)
{
	const struct options *offered = &syn->options;
	__u32 clock = now / NS_PER_MS, value = NO_WSCALE;

	if (offered->has_wscale)
		value = offered->wscale > MOST_WSCALE ? MOST_WSCALE : offered->wscale;
	value |= (offered->has_sack ? COOKIE_SACK : 0) | (ecn ? COOKIE_ECN : 0);
	value |= clock & ~COOKIE_BITS;
	return value > clock ? value - COOKIE_BITS - 1 : value;
}

/* Write the options in the kernel's order and return their size in bytes. Without timestamps a cookie carries MSS only. */
static __always_inline __u32 write_options(struct answer *answer, const struct syn *syn, const struct manner *manner,
					   __u16 mss, bool ecn, bool timestamps, __u64 now)
{
	const struct options *offered = &syn->options;

	answer->options[0] = bpf_htonl(MSS_WORD | mss);
	if (!timestamps)
		return 4;
	answer->options[1] = offered->has_sack ? bpf_htonl(OPT_SACK << 24 | 2 << 16 | OPT_TIMESTAMP << 8 | 10)
					       : bpf_htonl(OPT_PADDING << 24 | OPT_PADDING << 16 | OPT_TIMESTAMP << 8 | 10);
	answer->options[2] = bpf_htonl(timestamp(syn, ecn, now));
	answer->options[3] = offered->tsval;
	if (!offered->has_wscale)
		return 16;
	answer->options[4] = bpf_htonl(OPT_PADDING << 24 | OPT_WSCALE << 16 | 3 << 8 | manner->wscale);
	return 20;
}

static __always_inline void write_ip4(struct answer *answer, const struct syn *syn, const struct manner *manner,
				      __u32 tcp)
{
	struct iphdr *ip = &answer->ip4;

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = manner->tos;
	ip->tot_len = bpf_htons(sizeof(*ip) + tcp);
	ip->frag_off = bpf_htons(0x4000);       /* DF and id 0, as the kernel's own SYN-ACKs */
	ip->ttl = manner->ttl;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = syn->target.word[3];
	ip->daddr = syn->source.word[3];
	ip->check = ~folded(sum_of((const __u32 *)ip, sizeof(*ip) / 4));
}

static __always_inline void write_ip6(struct answer *answer, const struct syn *syn, const struct manner *manner,
				      __u32 tcp)
{
	struct ipv6hdr *ip = &answer->ip6;

	ip->version = 6;
	ip->priority = manner->tos >> 4;
	ip->flow_lbl[0] = manner->tos << 4;     /* flow label 0: none (RFC 6437) */
	ip->payload_len = bpf_htons(tcp);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = manner->ttl;
	__builtin_memcpy(&ip->saddr, &syn->target, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &syn->source, sizeof(ip->daddr));
}

/*
 * Return the kernel's cookie, or below 0. It is made of addresses, ports, sequence number and MSS, which are written
 * where the answer will be.
 */
static __always_inline __s64 cookie_for(const struct syn *syn, struct answer *answer)
{
	answer->tcp.source = syn->source_port;
	answer->tcp.dest = syn->target_port;
	answer->tcp.seq = syn->sequence;
	answer->tcp.doff = 6;
	answer->options[0] = syn->options.mss ? bpf_htonl(MSS_WORD | syn->options.mss) : 0;
	if (syn->family == V4) {
		answer->ip4.saddr = syn->source.word[3];
		answer->ip4.daddr = syn->target.word[3];
		return bpf_tcp_raw_gen_syncookie_ipv4(&answer->ip4, &answer->tcp, 24);
	}
	__builtin_memcpy(&answer->ip6.saddr, &syn->source, sizeof(answer->ip6.saddr));
	__builtin_memcpy(&answer->ip6.daddr, &syn->target, sizeof(answer->ip6.daddr));
	return bpf_tcp_raw_gen_syncookie_ipv6(&answer->ip6, &answer->tcp, 24);
}

/*
 * Write the checksum. Where the packet came with one that the sender's device was to complete (CHECKSUM_PARTIAL, as
 * from a virtual machine or container beside us), the field has to hold the sum of the pseudo header alone, and the
 * helper leaves it as it is; otherwise the helper makes the whole checksum of it. No program can tell which it is.
 */
static __always_inline int write_checksum(struct __sk_buff *skb, const struct syn *syn, __u64 pseudo, __u64 header)
{
	return bpf_l4_csum_replace(skb, syn->link + syn->ip + offsetof(struct tcphdr, check), 0,
				   folded(2 * pseudo + header), 0);
}

static __always_inline bool write_link(struct __sk_buff *skb, struct ethhdr *ether)
{
	const struct ethhdr *was = header_at(skb, 0, sizeof(*was));

	if (!was)
		return false;
	__builtin_memcpy(ether->h_dest, was->h_source, ETH_ALEN);
	__builtin_memcpy(ether->h_source, was->h_dest, ETH_ALEN);
	ether->h_proto = was->h_proto;
	return true;
}

/* Write all headers at once, with a TCP header of so many bytes. */
static __always_inline int write_headers(struct __sk_buff *skb, const struct syn *syn, struct answer *answer,
					 __u32 tcp)
{
	struct ethhdr *ether = syn->family == V4 ? &answer->ether4 : &answer->ether6;

	if (syn->link && !write_link(skb, ether))
		return -1;
	barrier_var(tcp);       /* the verifier has lost its bounds */
	if (tcp > sizeof(answer->tcp) + sizeof(answer->options))
		return -1;
	if (syn->family == V4)
		return syn->link ? bpf_skb_store_bytes(skb, 0, &answer->ether4, ETH_HLEN + sizeof(answer->ip4) + tcp, 0)
				 : bpf_skb_store_bytes(skb, 0, &answer->ip4, sizeof(answer->ip4) + tcp, 0);
	return syn->link ? bpf_skb_store_bytes(skb, 0, &answer->ether6, ETH_HLEN + sizeof(answer->ip6) + tcp, 0)
			 : bpf_skb_store_bytes(skb, 0, &answer->ip6, sizeof(answer->ip6) + tcp, 0);
}

/* Make the packet the answer and return what tc is to do with it: it leaves where it came in, to where it came from. */
static __noinline int answer(struct __sk_buff *skb, struct syn *syn, const struct manner *learnt,
			     const struct settings *settings, __u64 now)
{
	struct manner manner = *learnt;
	struct answer answer = {};
	__u64 pseudo, header;
	__u32 size, mtu = 0;
	bool timestamps, ecn;
	__s64 cookie;

	cookie = cookie_for(syn, &answer);
	if (cookie < 0)
		return TC_ACT_UNSPEC;
	if (!manner.mss) {
		if (bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0 || mtu < 576)
			mtu = 576;
		manner.mss = mtu - syn->ip - sizeof(struct tcphdr);
		manner.window = DEFAULT_WINDOW;
		manner.ttl = DEFAULT_TTL;
	}
	timestamps = settings->timestamps && syn->options.has_timestamp;
	syn->options.has_sack &= manner.flags & MANNER_SACK ? 1 : 0;
	syn->options.has_wscale &= manner.flags & MANNER_WSCALE ? 1 : 0;
	ecn = timestamps && manner.flags & MANNER_ECN && (syn->flags & (TH_ECE | TH_CWR)) == (TH_ECE | TH_CWR) &&
	      !(syn->tos & 3);

	size = sizeof(answer.tcp) + write_options(&answer, syn, &manner, manner.mss, ecn, timestamps, now);
	answer.tcp.source = syn->target_port;
	answer.tcp.dest = syn->source_port;
	answer.tcp.seq = bpf_htonl((__u32)cookie);
	answer.tcp.ack_seq = bpf_htonl(bpf_ntohl(syn->sequence) + 1);
	answer.tcp.doff = size / 4;
	answer.tcp.syn = answer.tcp.ack = 1;
	answer.tcp.ece = ecn;
	answer.tcp.window = bpf_htons(manner.window);
	header = sum_of((const __u32 *)&answer.tcp, (sizeof(answer.tcp) + sizeof(answer.options)) / 4);
	pseudo = sum_of_address(&syn->source) + sum_of_address(&syn->target) + bpf_htonl(IPPROTO_TCP) + bpf_htonl(size);
	if (syn->family == V4)          /* the ffff of ::ffff:a.b.c.d counts as nothing in a sum of this kind */
		write_ip4(&answer, syn, &manner, size);
	else
		write_ip6(&answer, syn, &manner, size);
	answer.tcp.check = folded(pseudo);

	if (skb->len != syn->link + syn->ip + size && bpf_skb_change_tail(skb, syn->link + syn->ip + size, 0))
		return TC_ACT_UNSPEC;
	if (write_headers(skb, syn, &answer, size) || write_checksum(skb, syn, pseudo, header))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
