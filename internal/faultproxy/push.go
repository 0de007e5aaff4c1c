package faultproxy

import (
	"context"
	"fmt"
	"slices"
)

// pushState is what the proxy does with pub/sub messages.
type pushState struct {
	hold   func(channel string) bool // nil: nothing
	drop   int                       // so many are still to be dropped
	caught int                       // held or dropped so far
}

// HoldPushes holds back pub/sub messages on all connections, or only those of
// channels for which one of the functions says true, until [Proxy.ReleasePushes].
// Replies, and messages of other channels, pass. A second call replaces the
// functions; what is held stays held. The functions must not call the proxy.
func (p *Proxy) HoldPushes(channels ...func(channel string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes.hold = func(channel string) bool {
		return len(channels) == 0 ||
			slices.ContainsFunc(channels, func(match func(string) bool) bool { return match(channel) })
	}
}

// ReleasePushes delivers the messages that are held, in order, on connections that
// are still open, and ends the hold.
func (p *Proxy) ReleasePushes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes.hold = nil
	for c := range p.conns {
		for _, raw := range c.heldPushes {
			c.deliver(raw)
		}
		c.heldPushes = nil
	}
}

// DropPushes drops the next n pub/sub messages, on whatever connections they come.
// DropPushes(0) ends that.
func (p *Proxy) DropPushes(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes.drop = n
}

// WaitPushes waits until n messages in all have been held or dropped.
func (p *Proxy) WaitPushes(ctx context.Context, n int) error {
	if err := p.await(ctx, func() bool { return p.pushes.caught >= n }); err != nil {
		return fmt.Errorf("faultproxy: waiting for %d messages: %w", n, err)
	}
	return nil
}

// push passes on one message, or not.
func (c *conn) push(raw []byte, channel string) {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.pushes.drop > 0:
		p.pushes.drop--
	case p.pushes.hold != nil && p.pushes.hold(channel):
		c.heldPushes = append(c.heldPushes, raw)
	default:
		c.deliver(raw)
		return
	}
	p.pushes.caught++
	p.notify()
}
