package lua

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Failure says what an error of a call means for the lock.
type Failure int

// The kinds of failure.
const (
	// Passing: Redis refused the command, so nothing was done, for a reason
	// that may pass: out of memory, loading, read-only, failing over.
	Passing Failure = iota + 1
	// Lasting: Redis refused the command and will refuse it again: the key has
	// another type, the user has no permission, the client is closed.
	Lasting
	// Unknown: no answer came. The command may have been done, or may yet be.
	Unknown
)

// Replies that pass. What begins with none of these words is lasting: waiting
// for an error that nobody expects would hide it.
var passing = []string{
	"OOM", "MISCONF", "NOREPLICAS", "READONLY", "MASTERDOWN", "LOADING", "BUSY", "NOSCRIPT",
	"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "NOAUTH", "UNBLOCKED", "UNKILLABLE", "NOGOODSLAVE",
	"ERR max number of clients",
	"ERR Protocol error: unauthenticated", // NOAUTH of a command of more than ten words
}

// FailureOf sorts the error of a call. Its argument is not nil.
func FailureOf(err error) Failure {
	if errors.Is(err, redis.ErrClosed) || errors.Is(err, errReply) {
		return Lasting
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return Unknown
	}
	text := reply.Error()
	for _, word := range passing {
		if strings.HasPrefix(text, word) {
			return Passing
		}
	}
	return Lasting
}

func isNoScript(err error) bool {
	if err == nil {
		return false // as nearly always: what follows allocates
	}
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "NOSCRIPT")
}
