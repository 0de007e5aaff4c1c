package lua

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Call is one run of a script: a go-redis command that the driver must not send
// twice on its own. Holdfast decides about a second copy, because it knows what
// an unanswered first one may have done; a driver's silent retry would run the
// script after its caller was told that it failed.
type Call struct {
	*redis.Cmd
	script      *Script
	keys        int
	replication *replication // nil: the replicas do not matter
}

// NewCall prepares a call of script. The keys and args are sent in that order;
// pass values already boxed as any where a call is made often.
func NewCall(script *Script, keys []any, args ...any) *Call {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, script.evalsha[0], script.evalsha[1], boxed(len(keys)))
	all = append(all, keys...)
	all = append(all, args...)
	// A command's own context is not the one that it is sent with.
	cmd := redis.NewCmd(context.Background(), all...) //nolint:forbidigo // see above
	cmd.SetFirstKeyPos(3)                             // what a cluster client routes by
	return &Call{Cmd: cmd, script: script, keys: len(keys)}
}

// NoRetry tells go-redis never to send the command again by itself. Redirects
// of a cluster are still followed: the node that redirected did not run it.
func (*Call) NoRetry() bool { return true }

// Keys are the keys that the call was made with.
func (c *Call) Keys() []any { return c.Args()[3 : 3+c.keys] }

// again is a fresh copy of the call, as EVAL with the whole script or as
// EVALSHA: a go-redis command carries its answer and is sent once.
func (c *Call) again(whole bool) *Call {
	next := NewCall(c.script, c.Keys(), c.Args()[3+c.keys:]...)
	if whole {
		copy(next.Args(), c.script.eval[:])
	}
	return next
}

// Processor is what runs single commands: each kind of go-redis client does.
type Processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// Do sends the call and leaves its answer in it. When Redis does not know the
// script, which means that nothing was run, the whole script is sent.
func (c *Call) Do(ctx context.Context, rdb Pipeliner) error {
	if c.replication != nil {
		replicate(ctx, rdb, []*Call{c})
		return c.Err()
	}
	err := rdb.Process(ctx, c)
	if !isNoScript(err) {
		return err
	}
	return c.doWhole(ctx, rdb)
}

// doWhole sends the whole script, which also loads it.
func (c *Call) doWhole(ctx context.Context, rdb Processor) error {
	whole := c.again(true)
	err := rdb.Process(ctx, whole)
	c.Cmd = whole.Cmd
	return err
}

// Pipeliner is what runs pipelines: each kind of go-redis client does.
type Pipeliner interface {
	Processor
	Pipeline() redis.Pipeliner
}

// DoAll sends the calls as one pipeline and leaves each answer in its call: one
// that failed does not touch the others, but for polls of one lock, which may go
// as one command. After NOSCRIPT the first call of each unknown script goes as a
// whole, which loads it, and the rest once more.
func DoAll(ctx context.Context, rdb Pipeliner, calls []*Call) {
	calls, handOut := gather(calls)
	defer handOut()
	isReplicated := func(c *Call) bool { return c.replication != nil }
	if slices.ContainsFunc(calls, isReplicated) {
		var replicated []*Call
		for _, c := range calls {
			if isReplicated(c) {
				replicated = append(replicated, c)
			}
		}
		defer replicate(ctx, rdb, replicated) // last: it may wait
		calls = slices.DeleteFunc(calls, isReplicated)
	}
	pipeline(ctx, rdb, calls)
	loaded := map[*Script]bool{}
	var rest []*Call
	for _, c := range calls {
		if !isNoScript(c.Err()) {
			continue
		}
		if !loaded[c.script] {
			loaded[c.script] = true
			_ = c.doWhole(ctx, rdb) // the error stays in the command
			continue
		}
		c.Cmd = c.again(false).Cmd
		rest = append(rest, c)
	}
	if len(rest) == 0 {
		return
	}
	pipeline(ctx, rdb, rest)
	for _, c := range rest {
		if isNoScript(c.Err()) { // another node of a cluster
			_ = c.doWhole(ctx, rdb) // the error stays in the command
		}
	}
}

func pipeline(ctx context.Context, rdb Pipeliner, calls []*Call) {
	switch len(calls) {
	case 0:
		return
	case 1:
		_ = rdb.Process(ctx, calls[0]) // the error stays in the command
		return
	}
	pipe := rdb.Pipeline()
	for _, c := range calls {
		_ = pipe.Process(ctx, c) // only queues it
	}
	_, _ = pipe.Exec(ctx) // the errors stay in the commands
}

// Small numbers of keys, boxed once.
var small = [...]any{0, 1, 2, 3, 4, 5, 6, 7, 8}

func boxed(n int) any {
	if n < len(small) {
		return small[n]
	}
	return n
}
