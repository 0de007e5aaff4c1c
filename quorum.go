package holdfast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// How one acquisition is made on a majority of independent servers: all are
// asked at once, for a short time, in the try form alone. Queues on several
// servers would have different orders, and each head would wait for the other.
// What becomes of it on each server is in parts.go.

// errNoMajority: a try is over, and its hold says why it failed.
var errNoMajority = errors.New("holdfast: no majority")

// NewQuorumCore binds a kind of lock to a name on several servers, of which each
// client has one. Options that are not given are those of the first client. It
// does no I/O; what is wrong with its arguments is returned by the first call.
func NewQuorumCore(clients []*Client, k *kind.Kind, name string, opts ...Option) *Core {
	if wrong := independent(clients); wrong != "" {
		return &Core{kind: k, name: name, err: invalid("%s %.64q: %s", k.Name, name, wrong)}
	}
	core := NewCore(clients[0], k, name, opts...)
	if r := core.set.replicas; core.err == nil && r > 0 {
		core.err = invalid("%s %q: WithReplicas(%d, %v): independent servers have no replicas to count",
			k.Name, name, r, core.set.replicaTimeout)
	}
	core.nodes = slices.Clone(clients)
	for _, c := range clients {
		core.group += c.id + " "
	}
	return core
}

// independent says what keeps clients from being one client for each of several
// servers; "" if nothing that can be told from here does.
func independent(clients []*Client) (wrong string) {
	if len(clients) == 0 {
		return "no clients"
	}
	for i, c := range clients {
		if c == nil || c.rdb == nil {
			return fmt.Sprintf("client %d of %d is nil or was not made by New", i+1, len(clients))
		}
		if a, b := clients[0].defaults.prefix, c.defaults.prefix; a != b {
			return fmt.Sprintf("client 1 has WithPrefix(%q) and client %d WithPrefix(%q): the key must be the same on all servers", a, i+1, b)
		}
		for j, other := range clients[:i] {
			if c == other || same(c.origin, other.origin) {
				return fmt.Sprintf("clients %d and %d are the same: each must be of another server", j+1, i+1)
			}
		}
	}
	return ""
}

func same(a, b redis.UniversalClient) bool {
	return reflect.ValueOf(a).Kind() == reflect.Pointer && a == b
}

// majority is how many servers make one.
func (k *Core) majority() int { return len(k.nodes)/2 + 1 }

// blockedBy tells whether what is left of k's servers beside those of h is no
// majority.
func (k *Core) blockedBy(h *hold) bool {
	left := len(k.nodes)
	for _, c := range k.nodes {
		if slices.Contains(h.core.nodes, c) {
			left--
		}
	}
	return left < k.majority()
}

// begin counts a call that may acquire, at each client; end must follow. One that
// is closed refuses it: that is the program's own doing, not a failure to be
// outvoted, and a lock on fewer servers than its name says would be another lock.
func (k *Core) begin() error {
	for i, c := range k.nodes {
		if err := c.begin(); err != nil {
			for _, begun := range k.nodes[:i] {
				begun.end()
			}
			return fmt.Errorf("holdfast: %q: %w", k.name, err)
		}
	}
	return nil
}

func (k *Core) end() {
	for _, c := range k.nodes {
		c.end()
	}
}

// closed tells whether one of the clients is.
func (k *Core) closed() bool {
	for _, c := range k.nodes {
		select {
		case <-c.closing:
			return true
		default:
		}
	}
	return false
}

// register enters a new acquisition wherever it may be answered.
func (k *Core) register(owner string, i *inquiry) *hold {
	if !k.kind.Majority {
		return k.client.register(k, owner, i)
	}
	h := k.newHold(k.client)
	h.inquiry = i
	h.trace = true
	h.ready = make(chan struct{}, 1)
	h.enlist()
	return h
}

// tryMajority is TryLock.
func (k *Core) tryMajority(ctx context.Context, h *hold) (*Lease, error) {
	err := h.askAll(ctx)
	if err == nil {
		return k.granted(ctx, h)
	}
	h.leave()
	if errors.Is(err, ErrClosed) {
		return nil, fmt.Errorf("holdfast: %q: %w", k.name, ErrClosed)
	}
	why := h.failure
	if h.news.answer.Status == lua.Busy {
		why = both(k.held(h.news.answer, 0), why)
		if endOf(ctx) == nil {
			return nil, why
		}
	}
	return nil, k.failed(ctx, why)
}

// seekMajority asks again and again until a majority has given the lock (nil), it
// will never do so, or ctx or a client ends. Each try has an id of its own, since
// the release of one may be under way when the next is made.
func (h *hold) seekMajority(ctx context.Context, t *ticket) error {
	k := h.core
	own := k.newPace()
	for {
		err := h.askAll(ctx)
		if err == nil {
			return nil
		}
		t.Tell(h.news)
		if err != errNoMajority { //nolint:errorlint // askAll returns it as it is
			return err
		}
		if h.hopeless {
			return h.failure
		}
		h.enlist()
		pause := time.NewTimer(apart(min(own.next(k.set.backOff), foreignPoll)))
		err = h.sleep(ctx, pause.C)
		pause.Stop()
		if err != nil {
			return err
		}
	}
}

// apart is a time from a fifth of d to d: tries that met, so that each got some
// of the servers and none a majority, must not meet again.
func apart(d time.Duration) time.Duration {
	return d/5 + time.Duration(rand.Int64N(int64(d-d/5)+1)) //nolint:gosec // spread, not secrecy
}

// sleep waits until the time is over: nil; or for the end of ctx or of a client.
func (h *hold) sleep(ctx context.Context, over <-chan time.Time) error {
	for {
		if h.core.closed() {
			return ErrClosed
		}
		select {
		case <-h.ready: // a late answer to an earlier try, or a client that closes
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askAll asks all servers at once. It returns nil once a majority has answered
// "yours", even if that was over before this goroutine ran; errNoMajority once
// none can be had or the time is over, and then h.news and h.failure say why.
func (h *hold) askAll(ctx context.Context) error {
	h.sendAcquires()
	begun := time.Now()
	over := time.NewTimer(nodeWait(h.core.set.ttl))
	defer over.Stop()
	for timeout, decided := false, false; ; {
		if h.core.closed() {
			return ErrClosed
		}
		h.mu.Lock()
		t := h.count()
		won := h.win(&t)
		end := ctx.Err()
		failed := !won && (timeout || end != nil || t.silent == 0)
		if failed {
			h.giveUp(&t, end)
		}
		h.mu.Unlock()
		switch {
		case won:
			return nil
		case failed && end != nil:
			return end
		case failed:
			return errNoMajority
		case !decided && t.decided(h.core):
			// Those that have not answered make no difference. If they do so about
			// as soon as the others, none of this try stands in the way of the next.
			decided = true
			over.Reset(min(max(time.Since(begun), grace), nodeWait(h.core.set.ttl)))
		}
		select {
		case <-h.ready:
		case <-over.C:
			timeout = true
		case <-ctx.Done():
		}
	}
}

// giveUp ends a try that failed: with h.mu, since an answer that comes now must not
// win any more. One that was cut short by its caller says less than the one before.
func (h *hold) giveUp(t *count, end error) {
	if end == nil || h.failure == nil && h.news.at.IsZero() {
		h.news, h.hopeless, h.failure = t.judge(h.core)
	}
	h.leaveParts()
}
