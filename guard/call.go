package guard

import (
	"context"
	"crypto/sha1" // the name that Redis gives to a script
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

// The one script that fences run: the check, then the commands.
var (
	source = guardLua + fenceLua
	sha    = digest(source)
)

func digest(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// call is one run of the script.
type call struct {
	*redis.Cmd
	once bool // it must not run twice
}

func (f *Fence) call(ctx context.Context, token int64, cmds []Cmd) *call {
	keys := []any{f.key}
	args := []any{token, f.field}
	for _, c := range cmds {
		keys = c.keys(keys)
		args = c.words(args)
	}
	all := append([]any{"evalsha", sha, len(keys)}, keys...)
	return newCall(ctx, append(all, args...), len(cmds) > 0)
}

func newCall(ctx context.Context, words []any, once bool) *call {
	cmd := redis.NewCmd(ctx, words...)
	cmd.SetFirstKeyPos(3) // what a cluster client routes by
	return &call{Cmd: cmd, once: once}
}

// NoRetry tells go-redis not to send the call again when its answer was lost. The
// check alone may be repeated; what a user's commands do when they run twice, only
// the user knows.
func (c *call) NoRetry() bool { return c.once }

// do sends the call and leaves its answer in it. When Redis does not know the
// script, which means that nothing was run, the whole of it is sent.
func (c *call) do(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.Process(ctx, c)
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	words := append([]any{"eval", source}, c.Args()[2:]...)
	whole := newCall(ctx, words, c.once) // a command carries its answer and is sent once
	err = rdb.Process(ctx, whole)
	c.Cmd = whole.Cmd
	return err
}
