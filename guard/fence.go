package guard

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Fence guards one resource that is kept in Redis. It keeps the highest token that
// it let pass beside the resource. Make it with [New] or [NewField]; the zero Fence
// refuses every call with holdfast.ErrInvalid. Fences with the same key, in this
// process or another, are the same fence. Safe for concurrent use.
type Fence struct {
	rdb        redis.UniversalClient
	key, field string
	wrong      error // what New was given and every call refuses
}

// New makes a Fence that keeps its token in key: a string of its own, without TTL,
// since it must outlive every holder of the lock that might still write. It does no
// I/O and never fails: a nil client or an empty key comes back from the first call
// as an error that Is holdfast.ErrInvalid.
//
// On a Cluster the fence must be in the slot of what it guards: give the keys a
// common hash tag, as in "fence:{invoice:42}" and "{invoice:42}:state". The lock may
// be on another server.
func New(rdb redis.UniversalClient, key string) *Fence {
	f := &Fence{rdb: rdb, key: key}
	switch {
	case noClient(rdb):
		f.wrong = invalid("New(%q): the Redis client is nil", key)
	case key == "":
		f.wrong = invalid("New: the key is empty")
	}
	return f
}

// NewField makes a Fence that keeps its token in a field of a hash: of the resource
// itself, where that is one. It needs no key of its own and ends with the hash, so
// it suits what is not deleted while holders of the lock may still write: what is
// deleted has forgotten its token. Otherwise it is as [New].
func NewField(rdb redis.UniversalClient, hash, field string) *Fence {
	f := New(rdb, hash)
	f.field = field
	if f.wrong == nil && field == "" {
		f.wrong = invalid("NewField(%q): the field is empty", hash)
	}
	return f
}

// noClient also knows the nil pointers that an interface hides.
func noClient(rdb redis.UniversalClient) bool {
	switch c := rdb.(type) {
	case nil:
		return true
	case *redis.Client:
		return c == nil
	case *redis.ClusterClient:
		return c == nil
	case *redis.Ring:
		return c == nil
	default:
		return false
	}
}

// Check lets token pass and remembers it, or refuses it. Call it when the work
// begins, before the resource is read: from then on older holders are refused. It
// blocks for one round trip, or until ctx ends as far as the go-redis client heeds
// that; a ctx that has ended sends nothing.
//
// The error Is [ErrStale] if a higher token was here; holdfast.ErrInvalid if the
// token is none or the call makes no sense, and then nothing was sent; ctx.Err() if
// ctx ended. Any other is the go-redis error: a reply of Redis means that nothing
// was done; else nobody knows whether the token is remembered, and Check may be
// called again. go-redis does so by itself, which is harmless.
func (f *Fence) Check(ctx context.Context, token int64) error {
	if err := f.ready(ctx, token); err != nil {
		return err
	}
	if err := f.call(ctx, token, nil).do(ctx, f.rdb); err != nil {
		return refusal(f.name(), err)
	}
	return nil
}

// Do runs the commands if token passes, in one step: nobody comes between the check
// and the writes, and if the token is refused nothing is written. It returns the
// commands with their replies, as if each had been sent alone; redis.Nil in one of
// them is an answer, not an error of Do.
//
// On a Cluster all keys must be in the fence's slot. A command's keys are given as
// [Key]; see [Cmd]. Do blocks as [Fence.Check] does and returns the same errors, and:
//
//   - If a command fails, those after it do not run. What ran before it stays, as in
//     MULTI, and the token is remembered. The error names the command and wraps the
//     reply; the commands up to that one are returned with it.
//   - If no answer came, nobody knows whether the commands ran. go-redis is told not
//     to send them again by itself. Do may be called again if they may run twice.
//     ErrStale then means that a later holder has come, not that they never ran.
func (f *Fence) Do(ctx context.Context, token int64, cmds ...Cmd) ([]*redis.Cmd, error) {
	if err := f.ready(ctx, token); err != nil {
		return nil, err
	}
	if len(cmds) == 0 {
		return nil, invalid("%s: no commands", f.name())
	}
	for i, c := range cmds {
		if err := c.check(); err != nil {
			return nil, invalid("%s: command %d: %w", f.name(), i+1, err)
		}
	}
	call := f.call(ctx, token, cmds)
	if err := call.do(ctx, f.rdb); err != nil {
		return nil, refusal(f.name(), err)
	}
	return f.replies(ctx, call, cmds)
}

// replies gives each command its reply. Only the last can be an error.
func (f *Fence) replies(ctx context.Context, call *call, cmds []Cmd) ([]*redis.Cmd, error) {
	list, err := call.Slice()
	if err != nil || len(list) == 0 || len(list) > len(cmds) {
		return nil, fmt.Errorf("guard: %s: unexpected reply %v to %d commands", f.name(), call.Val(), len(cmds))
	}
	done := make([]*redis.Cmd, len(list))
	for i, value := range list {
		failed, _ := value.(error)
		switch {
		case failed != nil:
			value = nil
		case value == nil:
			failed = redis.Nil
		}
		done[i] = cmds[i].answered(ctx, value, failed)
	}
	last := len(done) - 1
	if failed, ok := list[last].(error); ok {
		return done, fmt.Errorf("guard: %s: command %d, %v: %w", f.name(), last+1, cmds[last][0], failed)
	}
	if len(done) < len(cmds) {
		return done, fmt.Errorf("guard: %s: %d replies to %d commands", f.name(), len(done), len(cmds))
	}
	return done, nil
}

func (f *Fence) ready(ctx context.Context, token int64) error {
	switch {
	case f == nil || f.key == "" && f.wrong == nil:
		return invalid("a nil or zero Fence")
	case f.wrong != nil:
		return f.wrong
	}
	return ready(ctx, f.name(), token)
}

// name is what errors call the fence.
func (f *Fence) name() string {
	if f.field != "" {
		return fmt.Sprintf("fence %q field %q", f.key, f.field)
	}
	return fmt.Sprintf("fence %q", f.key)
}
