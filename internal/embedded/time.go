package embedded

import (
	"reflect"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// PassTime lets the TTLs of a server run in real time; miniredis keeps them
// still. Before each command they are moved on by exactly the time since the last
// one: a ticker would move them by its period, and let keys expire before their
// time.
func PassTime(m *miniredis.Miniredis) {
	c := &clock{redis: m, last: time.Now()}
	m.Server().SetPreHook(c.pass)
}

// clock has one mutex over reading the time and moving on, or two commands would
// move it twice.
type clock struct {
	redis *miniredis.Miniredis

	mu   sync.Mutex
	last time.Time // until when the keys' time has run
}

func (c *clock) pass(peer *server.Peer, _ string, _ ...string) bool {
	if inScript(peer) {
		return false // miniredis is locked for its script, in which time stands still anyway
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.redis.FastForward(now.Sub(c.last))
	c.last = now
	return false // the command runs
}

// inScript tells a command that a script runs from one that a client sent.
// miniredis knows, in a field of its own that it does not show.
func inScript(peer *server.Peer) bool {
	ctx := reflect.ValueOf(peer.Ctx)
	return ctx.Kind() == reflect.Pointer && ctx.Elem().FieldByName("nested").Bool()
}
