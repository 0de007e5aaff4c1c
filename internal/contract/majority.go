package contract

import (
	"errors"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

// nobody is an address at which nothing listens.
const nobody = "127.0.0.1:1"

// share lets the lock under test be on a second server, too.
func (e *Env) share(second *redis.Client) {
	e.second = second
	e.peers = make(map[*holdfast.Client][]*holdfast.Client)
	majority := e.Majority
	e.New = func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return majority(slices.Concat([]*holdfast.Client{c}, e.peersOf(c)), name, opts...)
	}
}

// addPeers makes the clients of the other servers that go with this one.
func (e *Env) addPeers(t *testing.T, c *holdfast.Client, opts []holdfast.Option) {
	t.Helper()
	if e.Majority == nil {
		return
	}
	second, _ := Connect(t, &redis.Options{Addr: e.second.Options().Addr}, opts...)
	// Without retries it says at once that it was refused.
	third, _ := Connect(t, &redis.Options{Addr: nobody, DialerRetries: 1}, opts...)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peers[c] = []*holdfast.Client{second, third}
}

// servers are those that the lock is on and that are up.
func (e *Env) servers() []redis.UniversalClient {
	if e.second == nil {
		return []redis.UniversalClient{e.Redis}
	}
	return []redis.UniversalClient{e.Redis, e.second}
}

// remove takes the lock's key away.
func (e *Env) remove(t *testing.T, l *holdfast.Lease) error {
	t.Helper()
	for _, rdb := range e.servers() {
		if err := rdb.Del(t.Context(), e.lockKey(t, l)).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the client, and those of the other servers that go with it.
func (e *Env) Close(t *testing.T, c *holdfast.Client) error {
	t.Helper()
	err := c.Close(t.Context())
	for _, peer := range e.peersOf(c) {
		err = errors.Join(err, peer.Close(t.Context()))
	}
	return err
}

func (e *Env) peersOf(c *holdfast.Client) []*holdfast.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[c]
}
