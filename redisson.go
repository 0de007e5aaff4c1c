package holdfast

import "github.com/holdfast-go/holdfast/internal/keys"

// WithRedisson makes a reentrant lock the same lock as Redisson's getLock of its
// name, so that services in Go and in Java exclude each other, and each wakes the
// other's waiters: for a reentrant lock of a client with WithPrefix(""), since the
// key is then the name. Both then keep the same hash, and speak on Redisson's
// channel. First come, first served holds among Holdfast's waiters only;
// Redisson's get their chance when a release finds none of those. Where Redisson
// uses sharded pub/sub, in a Cluster, its releases are found by polling, every
// quarter of a second. An owner is not shared with Redisson: neither can re-enter
// what the other holds. Defaults to Holdfast's own keys and wake-ups alone.
func WithRedisson() Option {
	return func(b *builder) {
		if !b.lock {
			b.fail("WithRedisson is for a reentrant lock, not for New")
		}
		b.redisson = true
	}
}

// redissonChannel checks WithRedisson against the lock that it is given to.
func (k *Core) redissonChannel() error {
	switch {
	case !k.set.redisson:
		return nil
	case !k.kind.Owned:
		return invalid("%s %q: WithRedisson is for reentrant locks", k.kind.Name, k.name)
	case k.set.prefix != "":
		return invalid("%s %q: WithRedisson needs WithPrefix(%q), and the client has WithPrefix(%q)",
			k.kind.Name, k.name, "", k.set.prefix)
	}
	k.channel = keys.Redisson(k.name)
	return nil
}

// hear lets a waiting hold poll whenever Redisson's clients say that they have
// released the lock; the function that it returns ends that.
func (h *hold) hear() (unhear func()) {
	channel, _ := h.core.channel.(string)
	if channel == "" {
		return func() {}
	}
	c := h.client
	c.mu.Lock()
	if c.heard[channel] == nil {
		c.heard[channel] = map[*hold]struct{}{}
	}
	c.heard[channel][h] = struct{}{}
	c.inbox.Listen(channel) // with c.mu, so that it keeps its order with Unlisten
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.heard[channel], h)
		if len(c.heard[channel]) == 0 {
			delete(c.heard, channel)
			c.inbox.Unlisten(channel)
		}
	}
}

// said is called for each message on a channel that holds hear, and when its
// subscription has come: what was said before that is lost.
func (c *Client) said(channel string) {
	c.mu.Lock()
	var all []*hold
	for h := range c.heard[channel] {
		all = append(all, h)
	}
	c.mu.Unlock()
	for _, h := range all {
		h.pollSoon(0)
	}
}
