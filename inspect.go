package holdfast

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// listed is how many holders, and how many waiters, Inspect lists.
const listed = 1000

// State is how a lock stands, as one instant at the server saw it.
type State struct {
	Kind string // "mutex", "reentrant", "rwlock", "semaphore"
	Name string
	// Token is the last fencing token that was given and is remembered; of a mutex
	// that is passed on inside a process, the first one of that hold or above it.
	Token int64
	// Used is the sum of what is held: permits, shares of a reentrant lock,
	// readers; All and more while there is a writer.
	Used    int64
	Holders []Holder // the one whose lease ends first comes first; 1000 at the most
	Waiters []Waiter // in the order in which they are served; 1000 at the most
	// How many there are, listed or not.
	HolderCount, WaiterCount int
}

// Holder is one hold of a lock.
type Holder struct {
	Holder    string        // who holds it, see WithHolder; of another library, what it wrote
	ID        string        // of the lease, for ForceRelease; of a mutex that was passed on, of the first; "" of another library
	Owner     string        // of a reentrant lock
	Token     int64         // of the lease of that ID; 0 of another library, and when resting
	Weight    int64         // permits; All for a writer; of a reentrant lock that Redisson holds, its count; else 1
	Remaining time.Duration // until its lease ends, unless it is renewed; 0 if it has no end
	Foreign   bool          // another library holds it
	Resting   bool          // released, but kept taken by its WithMinHold
}

// Waiter is one place in the queue of a lock.
type Waiter struct {
	Holder  string        // who waits, see WithHolder
	ID      string        // of the acquisition
	Owner   string        // of a reentrant lock
	Weight  int64         // what it waits for
	Waiting time.Duration // since its request came to Redis
	// Alive: it has been heard of lately. One that has not is passed over when
	// its turn comes. Of a mutex or reentrant lock a place may stand for several
	// goroutines of one process, of a mutex also for none any more.
	Alive bool
}

// Inspect asks who holds the lock and who waits for it: one command, which
// changes nothing. It does not look at goroutines that wait in this process
// behind a place. ctx bounds the call as far as the go-redis client heeds it.
// Errors are Redis's, ctx's, [ErrInvalid] or [ErrClosed].
func (k *Core) Inspect(ctx context.Context) (*State, error) {
	if err := k.enquire(ctx); err != nil {
		return nil, err
	}
	defer k.end()
	if k.kind.Majority {
		return k.inspectAll(ctx)
	}
	return k.inspect(ctx)
}

// ForceRelease takes the lease of that ID away from whoever holds it, and hands
// the lock to the next waiter in the same step. Its holder is told at once: the
// lease's Err Is [ErrLost], with the reason "taken". Only a holder whose message
// was lost, or who held the lock for less than a quarter of a second, learns it
// by its next renewal instead, and then with the reason "removed" if nobody else
// holds the lock. The work that it does is not stopped by that: a resource that
// matters checks the fencing token.
//
// A mutex that is passed on inside a process is one hold: it is taken from whoever
// has it there, whether ID is that of the hold, before the dot, or of one of its
// leases.
//
// The error Is [ErrReleased] if nothing is held under that ID: it was released or
// lost, or still waits. Any other error but [ErrInvalid] and [ErrClosed] means
// that nobody knows; it may be called again. ctx bounds the call as far as the
// go-redis client heeds it.
func (k *Core) ForceRelease(ctx context.Context, id string) error {
	if err := k.enquire(ctx); err != nil {
		return err
	}
	defer k.end()
	if !isID(id) {
		return invalid("ForceRelease of %q: %.64q is not the ID of a lease", k.name, id)
	}
	id, _, _ = strings.Cut(id, ".")
	if k.kind.Majority {
		return k.evictAll(ctx, id)
	}
	done, err := k.evictOnce(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("holdfast: forced release of %q: %w", k.name, err)
	case !done:
		return k.notHeld(id)
	}
	return nil
}

// evictOnce takes a hold away, and tells whether there was one. It sends again when
// a connection breaks.
func (k *Core) evictOnce(ctx context.Context, id string) (bool, error) {
	doubt := false // a copy that was not answered may have done it
	for try := 1; ; try++ {
		request, err := k.find(ctx, id)
		var r lua.Released
		if err == nil && request == "" {
			return doubt, nil
		}
		if err == nil {
			call := k.evictCall(id, request)
			_ = call.Do(ctx, k.client.rdb) // the error is in the call
			r, err = call.Released()
			doubt = doubt || err != nil && lua.FailureOf(err) == lua.Unknown
		}
		switch {
		case r.Held:
			k.client.after(k, r)
			return true, nil
		case err == nil && try < tryAttempts:
			// Not under that request any more: released, or a downgrade's now. Look again.
		case err == nil:
			return doubt, nil
		case lua.FailureOf(err) != lua.Unknown || isTimeout(err) || endOf(ctx) != nil || try == tryAttempts:
			return false, err
		}
	}
}

func (k *Core) notHeld(id string) error {
	return fmt.Errorf("holdfast: %q is not held under %s: %w", k.name, id, ErrReleased)
}

// enquire checks and counts a call that acquires nothing; end must follow.
func (k *Core) enquire(ctx context.Context) error {
	if err := k.usable(ctx); err != nil {
		return err
	}
	if end := endOf(ctx); end != nil {
		return fmt.Errorf("holdfast: %q not looked at: %w", k.name, end)
	}
	return k.begin()
}

func (k *Core) inspect(ctx context.Context) (*State, error) {
	call := k.inspectCall(listed)
	_ = call.Do(ctx, k.client.rdb) // the error is in the call
	in, err := call.Inspected()
	if err != nil {
		return nil, fmt.Errorf("holdfast: %q not inspected: %w", k.name, err)
	}
	s := &State{
		Kind: k.kind.Name, Name: k.name, Token: in.Token, Used: in.Used,
		HolderCount: in.Holders, WaiterCount: in.Waiters,
	}
	for _, row := range in.Holding {
		s.Holders = append(s.Holders, k.holderOf(row))
	}
	for _, row := range in.Waiting {
		id, rest, _ := strings.Cut(row.Text, " ")
		r := k.read(rest)
		s.Waiters = append(s.Waiters, Waiter{
			Holder: r.holder, ID: id, Owner: r.owner, Weight: r.weight,
			Waiting: row.Waiting, Alive: row.Alive,
		})
	}
	return s, nil
}

func (k *Core) holderOf(row lua.Holding) Holder {
	h := Holder{Weight: row.Weight, Token: row.Token, Remaining: row.Remaining}
	id, rest, _ := strings.Cut(row.Text, " ")
	resting := strings.HasPrefix(id, "-")
	switch {
	case !k.kind.Shared && row.Token == 0: // what Holdfast writes has a token, resting or not
		h.Foreign = true
		h.Holder = row.Text
		if k.kind.Owned {
			h.Holder, h.Owner = "", row.Text
		}
		return h
	case resting:
		h.Resting, h.Token = true, 0
	default:
		h.ID = id
	}
	r := k.read(rest)
	h.Holder, h.Owner = r.holder, r.owner
	return h
}

// find is the request under which the lock is held by that id, "" if by none. It
// never changes while the id holds, but by a downgrade.
func (k *Core) find(ctx context.Context, id string) (string, error) {
	if !k.kind.Shared && !k.kind.Owned {
		cmd := redis.NewStringCmd(ctx, "get", k.keys.Lock)
		if err := k.client.rdb.Process(ctx, cmd); err != nil && err != redis.Nil { //nolint:errorlint // it is never wrapped
			return "", err
		}
		parts := strings.SplitN(cmd.Val(), " ", 3) // id, token, request
		if len(parts) < 3 || parts[0] != id {
			return "", nil
		}
		return parts[2], nil
	}
	key := k.keys.Lock
	if k.kind.Owned {
		key = k.keys.Shares
	}
	for cursor := uint64(0); ; {
		scan := redis.NewScanCmd(ctx, nil, "zscan", key, cursor, "match", id+" *", "count", listed)
		if err := k.client.rdb.Process(ctx, scan); err != nil {
			return "", err
		}
		var page []string
		if page, cursor = scan.Val(); len(page) > 0 {
			return strings.TrimPrefix(page[0], id+" "), nil
		}
		if cursor == 0 {
			return "", nil
		}
	}
}

// isID tells the ID of a lease: "<uuid>:<number>", or that and ".<number>".
func isID(s string) bool {
	client, rest, ok := strings.Cut(s, ":")
	number, turn, passed := strings.Cut(rest, ".")
	_, err := strconv.ParseUint(number, 10, 64)
	if _, wrong := strconv.ParseUint(turn, 10, 64); passed && err == nil {
		err = wrong
	}
	return ok && err == nil && len(client) == 36 && !slices.ContainsFunc([]byte(client), func(b byte) bool {
		return (b < '0' || b > '9') && (b < 'a' || b > 'f') && b != '-'
	})
}
