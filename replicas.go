package holdfast

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

// replicated has a call wait for the replicas if the lock asks for that.
func (k *Core) replicated(call *lua.Call) *lua.Call {
	if k.set.replicas == 0 {
		return call
	}
	return call.Replicated(k.set.replicas, k.set.replicaTimeout)
}

// shortfall is the error of a call that was answered, but that too few replicas
// have.
func (k *Core) shortfall(call *lua.Call) error {
	if k.set.replicas == 0 || call.Acknowledged() >= k.set.replicas {
		return nil
	}
	return &ReplicasError{Name: k.name, Wanted: k.set.replicas, Acknowledged: call.Acknowledged()}
}

// confirm renews what was acquired a moment ago, and waits for the replicas. WAIT
// counts what was sent to them before the last command of its own connection: the
// acquire may have come on another one, or been somebody else's release that
// granted the lock.
func (h *hold) confirm(ctx context.Context) error {
	if h.core.set.replicas == 0 {
		return nil
	}
	return h.renewOnce(ctx)
}

// unconfirmed tells whether Lock goes on after that error of granted: what was
// acquired is given back.
func (k *Core) unconfirmed(err error) bool {
	return k.set.replicas > 0 && !errors.Is(err, ErrClosed) && lua.FailureOf(err) != lua.Lasting
}

// shortIn is the shortfall in an error, nil if there is none.
func shortIn(err error) error {
	if short := (*ReplicasError)(nil); errors.As(err, &short) {
		return short
	}
	return nil
}

// rest waits for a while before the next try, from half of pause to the whole: who
// else tries for the replicas must not keep step. It returns when ctx or the client
// ends.
func (c *Client) rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause/2 + time.Duration(rand.Int64N(int64(pause/2)))) //nolint:gosec // spread, not secrecy
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-c.closing:
	}
}
