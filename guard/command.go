package guard

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Cmd is one Redis command for [Fence.Do]: its words, as redis.Client.Do takes them,
// with each key as a [Key]. The first word is its name, a string.
//
//	guard.Cmd{"SET", guard.Key("{invoice:42}:state"), "paid", "EX", 3600}
//
// A command that waits, such as BLPOP, does not wait in a script.
type Cmd []any

// Key is a key among the words of a [Cmd]. Redis must know which keys a script
// touches: a Cluster needs it to find the node, access rules to judge. A key that is
// not marked works on a single server, and may be refused anywhere else.
type Key string

// maxWords is what a script can hand to one command, on miniredis too.
const maxWords = 4000

func (c Cmd) check() error {
	if len(c) == 0 {
		return fmt.Errorf("it has no words")
	}
	if name, ok := c[0].(string); !ok || name == "" {
		return fmt.Errorf("its name is %#v, not a string", c[0])
	}
	if len(c) > maxWords {
		return fmt.Errorf("%v has %d words, more than %d", c[0], len(c), maxWords)
	}
	return nil
}

// keys adds the command's keys.
func (c Cmd) keys(to []any) []any {
	for _, word := range c {
		if key, ok := word.(Key); ok {
			to = append(to, string(key))
		}
	}
	return to
}

// words adds the command as the script reads it.
func (c Cmd) words(to []any) []any {
	to = append(to, len(c))
	for _, word := range c {
		if key, ok := word.(Key); ok {
			word = string(key) // go-redis knows no types of ours
		}
		to = append(to, word)
	}
	return to
}

// answered is the command as go-redis returns one.
func (c Cmd) answered(ctx context.Context, value any, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx, c.words(nil)[1:]...)
	cmd.SetVal(value)
	cmd.SetErr(err)
	return cmd
}
