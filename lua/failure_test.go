package lua_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// replyError is an error reply, as go-redis marks them.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

func TestFailureOf(t *testing.T) {
	for _, c := range []struct {
		want lua.Failure
		err  error
	}{
		{lua.Passing, replyError("OOM command not allowed when used memory > 'maxmemory'. script: f00, on @user_script:24.")},
		{lua.Passing, replyError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.")},
		{lua.Passing, replyError("NOREPLICAS Not enough good replicas to write.")},
		{lua.Passing, replyError("READONLY You can't write against a read only replica.")},
		{lua.Passing, replyError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")},
		{lua.Passing, replyError("LOADING Redis is loading the dataset in memory")},
		{lua.Passing, replyError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")},
		{lua.Passing, replyError("NOSCRIPT No matching script. Please use EVAL.")},
		{lua.Passing, replyError("MOVED 3999 127.0.0.1:6381")},
		{lua.Passing, replyError("ASK 3999 127.0.0.1:6381")},
		{lua.Passing, replyError("TRYAGAIN Multiple keys request during rehashing of slot")},
		{lua.Passing, replyError("CLUSTERDOWN The cluster is down")},
		{lua.Passing, replyError("CLUSTERDOWN Hash slot not served")},
		{lua.Passing, replyError("NOAUTH Authentication required.")},
		{lua.Passing, replyError("ERR Protocol error: unauthenticated multibulk length")},
		{lua.Passing, replyError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")},
		{lua.Passing, replyError("UNKILLABLE Sorry the script already executed write commands against the dataset.")},
		{lua.Passing, replyError("NOGOODSLAVE No suitable replica to promote")},
		{lua.Passing, replyError("ERR max number of clients reached")},
		{lua.Passing, fmt.Errorf("renew: %w", replyError("OOM command not allowed"))},

		{lua.Lasting, replyError("WRONGTYPE Operation against a key holding the wrong kind of value")},
		{lua.Lasting, replyError("NOPERM this user has no permissions to run the 'evalsha' command")},
		{lua.Lasting, replyError("CROSSSLOT Keys in request don't hash to the same slot")},
		{lua.Lasting, replyError("WRONGPASS invalid username-password pair or user is disabled.")},
		{lua.Lasting, replyError("ERR unknown command 'evalsha'")},
		{lua.Lasting, replyError("ERR the command is OOM")},
		{lua.Lasting, replyError("")},
		{lua.Lasting, redis.Nil},
		{lua.Lasting, redis.ErrClosed},
		{lua.Lasting, fmt.Errorf("acquire: %w", redis.ErrClosed)},

		{lua.Unknown, context.Canceled},
		{lua.Unknown, context.DeadlineExceeded},
		{lua.Unknown, io.EOF},
		{lua.Unknown, io.ErrUnexpectedEOF},
		{lua.Unknown, os.ErrDeadlineExceeded},
		{lua.Unknown, redis.ErrPoolTimeout},
		{lua.Unknown, &net.OpError{Op: "read", Err: syscall.ECONNRESET}},
		{lua.Unknown, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
		{lua.Unknown, errors.New("OOM, but not by Redis")},
	} {
		if got := lua.FailureOf(c.err); got != c.want {
			t.Errorf("%T %q is %d, want %d", c.err, c.err, got, c.want)
		}
	}
}
