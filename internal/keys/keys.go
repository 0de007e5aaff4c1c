// Package keys spells every Redis key and channel name of Holdfast, and nothing else does.
//
// A lock has one key of its own, the lock key, and companions beside it. In a
// Redis Cluster all of them must live in one slot, for every possible name, so
// a companion carries a hash tag that lands in the lock key's slot:
//
//	lock key   holdfast:mutex:{order}:7
//	queue      holdfast:q:{order}holdfast:mutex:{order}:7
//	token      holdfast:t:{order}holdfast:mutex:{order}:7
//	shares     holdfast:h:{order}holdfast:mutex:{order}:7
package keys

import (
	"errors"
	"fmt"
	"strings"
)

// Namespace begins every companion key and every channel, whatever the prefix
// of the lock keys is, so that one ACL pattern covers them.
const Namespace = "holdfast:"

// MaxName is the longest lock key, prefix and kind included, in bytes. Redis
// would take 512 MB; a name that long is a bug of the caller, and each script
// call carries it four times.
const MaxName = 4096

const (
	queuePrefix = Namespace + "q:"
	tokenPrefix = Namespace + "t:"
	sharePrefix = Namespace + "h:"
	inboxPrefix = Namespace + "inbox:"
)

// Companion prefixes, which no lock key may begin with: it could be another
// lock's companion.
var reserved = []string{queuePrefix, tokenPrefix, sharePrefix, inboxPrefix}

// Set is every key of one lock.
type Set struct {
	Lock   string // the lock itself
	Queue  string // the waiters, in order, and the tombstones of those that left
	Token  string // the last fencing token given
	Shares string // of a reentrant lock: its acquisitions, one by one
}

// For returns the keys of the lock of that kind and name. With an empty prefix
// the lock key is the name alone, as other libraries write it.
func For(prefix, kind, name string) (Set, error) {
	if name == "" {
		return Set{}, errors.New("the name is empty")
	}
	lock := name
	if prefix != "" {
		lock = prefix + kind + ":" + name
	}
	if len(lock) > MaxName {
		return Set{}, fmt.Errorf("the key of %.32q... has %d bytes, more than %d", name, len(lock), MaxName)
	}
	for _, p := range reserved {
		if strings.HasPrefix(lock, p) {
			return Set{}, fmt.Errorf("the key %.64q begins with %q, which belongs to the companions of locks", lock, p)
		}
	}
	tagged := "{" + Tag(lock) + "}" + lock
	return Set{
		Lock:   lock,
		Queue:  queuePrefix + tagged,
		Token:  tokenPrefix + tagged,
		Shares: sharePrefix + tagged,
	}, nil
}

// Inbox is the channel on which the client of that id is woken.
func Inbox(client string) string { return inboxPrefix + client }

// Redisson is the channel on which Redisson's clients wait for its RLock of that
// name, as its prefixName spells it.
func Redisson(name string) string {
	const prefix = "redisson_lock__channel:"
	if strings.Contains(name, "{") {
		return prefix + name
	}
	return prefix + "{" + name + "}"
}
