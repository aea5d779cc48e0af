/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* How a listener answers, seen where its own SYN-ACKs leave. */
#ifndef SYNGUARD_LEARN_H
#define SYNGUARD_LEARN_H

#include <linux/pkt_cls.h>
#include "syn.h"

/*
 * Whether a leaving packet may be a SYN-ACK of this host: it did not come in anywhere, as forwarded packets and our own
 * answers did, and is of no connection. The kernel gives SYN-ACKs with cookies no socket at all.
 */
static __always_inline bool from_listener(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	return !skb->ingress_ifindex && (!sk || sk->state == BPF_TCP_NEW_SYN_RECV || sk->state == BPF_TCP_LISTEN);
}

static __always_inline void learn(const struct syn *seen, struct manner *manner)
{
	const struct options *options = &seen->options;
	struct manner new = *manner;

	if (!options->mss)
		return;
	new.mss = options->mss;
	new.window = seen->window;
	new.ttl = seen->ttl;
	new.tos = seen->tos & ~3;
	if (options->has_wscale) {
		new.wscale = options->wscale;
		new.flags |= MANNER_WSCALE;
	}
	if (options->has_sack)
		new.flags |= MANNER_SACK;
	if (seen->flags & TH_ECE)
		new.flags |= MANNER_ECN;
	if (*(__u64 *)&new != *(__u64 *)manner)
		*(__u64 *)manner = *(__u64 *)&new;      /* at once: no reader sees half of it */
}

static __always_inline int on_egress(struct __sk_buff *skb, __u32 link)
{
	struct slots *all = at(&slots, 0);
	struct manner *manner;
	struct syn seen;
	__u32 slot;

	if (!from_listener(skb) || !all || !is_handshake(skb, link, TH_SYN | TH_ACK, &seen))
		return TC_ACT_UNSPEC;
	slot = all->of_port[bounded(bpf_ntohs(seen.source_port))];
	manner = at(&manners, number_of(slot, seen.family, &seen.source));
	if (slot && manner)
		learn(&seen, manner);
	return TC_ACT_UNSPEC;
}

#endif
