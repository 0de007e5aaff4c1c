package servertest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/lua"
)

// Servers that refuse, in the middle of an acquire, a wait, a renewal and a release.
// The replies are a real server's; that each error of a script means that nothing
// was done is shown in lua, and on the network in contract.

// trouble is one reason to refuse.
type trouble struct {
	word     string   // that the reply begins with
	args     []string // of the server
	provoke  func(b *bed) (mend func())
	renews   bool // and releases, and hands over
	lasts    bool // nobody waits for it to pass
	connects bool // only new connections are refused, and may break before they hear it
}

// is tells whether an error says what the trouble is.
func (tr trouble) is(err error) bool {
	if isWord(err, tr.word) {
		return true
	}
	return err != nil && tr.connects && (isWord(err, "Protocol error: unauthenticated") || lua.FailureOf(err) == lua.Unknown)
}

// bed is a server in trouble, and an administrator who always gets in.
type bed struct {
	t     *testing.T
	s     *testredis.Server
	admin *redis.Client
	key   string
}

func (b *bed) do(args ...any) {
	b.t.Helper()
	if err := b.admin.Do(b.t.Context(), args...).Err(); err != nil {
		b.t.Fatalf("%v: %v", args, err)
	}
}

// config sets an option of the server and returns what sets it back.
func config(name, value, back string) func(b *bed) func() {
	return func(b *bed) func() {
		b.do("CONFIG", "SET", name, value)
		return func() { b.do("CONFIG", "SET", name, back) }
	}
}

// cut ends the connections of everybody else.
func (b *bed) cut() { b.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }

var troubles = map[string]trouble{
	"out of memory": {word: "OOM", provoke: config("maxmemory", "1", "0"), renews: true},
	"no replicas":   {word: "NOREPLICAS", provoke: config("min-replicas-to-write", "1", "0")},
	"read only": {word: "READONLY", provoke: func(b *bed) func() {
		b.do("REPLICAOF", "127.0.0.1", "1") // there is nobody: the data stays
		return func() { b.do("REPLICAOF", "NO", "ONE") }
	}},
	"master is down": {word: "MASTERDOWN", args: []string{"--replica-serve-stale-data", "no"}, provoke: func(b *bed) func() {
		b.do("REPLICAOF", "127.0.0.1", "1")
		return func() { b.do("REPLICAOF", "NO", "ONE") }
	}},
	"cannot save":        {word: "MISCONF", args: []string{"--enable-protected-configs", "yes"}, provoke: cannotSave},
	"loading":            {word: "LOADING", args: []string{"--loading-process-events-interval-bytes", "1024"}, provoke: loading},
	"busy with a script": {word: "BUSY", args: []string{"--busy-reply-threshold", "50"}, provoke: busy},
	"cluster is down":    {word: "CLUSTERDOWN", args: []string{"--cluster-enabled", "yes"}, provoke: clusterDown},
	"password is new": {word: "NOAUTH", connects: true, provoke: func(b *bed) func() {
		b.do("CONFIG", "SET", "requirepass", "secret")
		b.cut()
		return func() { b.do("CONFIG", "SET", "requirepass", "") }
	}},
	"too many clients": {word: "max number of clients", connects: true, provoke: func(b *bed) func() {
		b.do("CONFIG", "SET", "maxclients", "1")
		b.cut()
		return func() { b.do("CONFIG", "SET", "maxclients", "1000") }
	}},
	"no permission": {word: "NOPERM", lasts: true, provoke: func(b *bed) func() {
		b.do("ACL", "SETUSER", "default", "-evalsha", "-eval")
		return func() { b.do("ACL", "SETUSER", "default", "+@all") }
	}},
	"wrong type": {word: "WRONGTYPE", lasts: true, provoke: func(b *bed) func() {
		b.do("EVAL", "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')", 1, b.key) // before anybody is granted it
		return func() { b.do("DEL", b.key) }
	}},
}

// cannotSave makes the server fail to save: it then refuses writes.
func cannotSave(b *bed) func() {
	dir := filepath.Join(b.t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	b.do("CONFIG", "SET", "save", "3600 1")
	b.do("CONFIG", "SET", "dir", dir)
	if err := os.Remove(dir); err != nil {
		b.t.Fatal(err)
	}
	_ = b.admin.BgSave(b.t.Context()).Err() // may say so itself
	contract.Eventually(b.t, "the save to fail", func() bool {
		info := b.admin.InfoMap(b.t.Context(), "persistence")
		return info.Item("Persistence", "rdb_last_bgsave_status") == "err"
	})
	return func() { b.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }
}

// loading restarts the server with a data set that takes it a while.
func loading(b *bed) func() {
	b.do("DEBUG", "POPULATE", "20000", "key", "500")
	b.do("SAVE")
	b.s.Kill()
	b.s.RestartLoading("--key-load-delay", "1000") // microseconds a key: until it is told otherwise
	return func() {
		b.do("CONFIG", "SET", "key-load-delay", "0")
		contract.Eventually(b.t, "the data to be loaded", func() bool { return b.admin.Ping(b.t.Context()).Err() == nil })
	}
}

// busy keeps the server in a script.
func busy(b *bed) func() {
	ended := make(chan struct{})
	rdb := b.s.Client(b.t, func(o *redis.Options) { o.MaxRetries, o.ReadTimeout = -1, time.Minute })
	go func() {
		defer close(ended)
		_ = rdb.Eval(b.t.Context(), "while true do end", nil).Err() // is killed
	}()
	b.t.Cleanup(func() { <-ended })
	contract.Eventually(b.t, "the script to run", func() bool {
		return redis.HasErrorPrefix(b.admin.Ping(b.t.Context()).Err(), "BUSY")
	})
	return func() { b.do("SCRIPT", "KILL"); <-ended }
}

// clusterDown takes a slot away from a cluster of one, which then refuses all.
func clusterDown(b *bed) func() {
	b.do("CLUSTER", "DELSLOTS", "0")
	b.state("fail")
	return func() { b.do("CLUSTER", "ADDSLOTS", "0"); b.state("ok") }
}

func (b *bed) state(want string) {
	b.t.Helper()
	contract.Eventually(b.t, "the cluster's state to be "+want, func() bool {
		info := b.admin.ClusterInfo(b.t.Context()).Val()
		return len(info) > 15 && info[len("cluster_state:"):][:len(want)] == want
	})
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		for _, kind := range []string{"mutex", "semaphore", "reentrant"} { // each with scripts of its own
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := testredis.Start(t, trouble.args...)
				b := &bed{t: t, s: s, admin: s.Client(t, func(o *redis.Options) { o.PoolSize = 1 }), key: "holdfast:" + kind + ":lock"}
				b.do("PING") // its connection is there
				if trouble.word == "CLUSTERDOWN" {
					b.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
					b.state("ok")
				}
				inTrouble(b, kind, trouble)
			})
		}
	}
}

// lock makes the lock of that name of a client of its own, connected.
func (b *bed) lock(kind, name string) holdfast.Locker {
	b.t.Helper()
	// Often, but a place that is lost because this machine is busy must wait for memory.
	fast := holdfast.WithBackOff(func() holdfast.BackOff { return every(200 * time.Millisecond) })
	c := newClient(b.t, b.s.Client(b.t), fast)
	contract.Release(b.t, contract.Lock(b.t, kinds[kind](c, "warm")))
	return kinds[kind](c, name)
}

// every is a BackOff that never changes.
type every time.Duration

func (e every) NextBackOff() time.Duration { return time.Duration(e) }
func (every) Reset()                       {}

func inTrouble(b *bed, kind string, trouble trouble) {
	t := b.t
	t.Helper()
	holder, waiter, other, third := b.lock(kind, "lock"), b.lock(kind, "lock"), b.lock(kind, "lock"), b.lock(kind, "lock")
	free := b.lock(kind, "free") // an attempt at what is held only asks, which a read-only server answers
	if trouble.word == "WRONGTYPE" {
		free = other
	}
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), waiter)
	queuedBehind(t, holder, 1)
	mend := trouble.provoke(b)

	// An attempt says what it is.
	began := time.Now()
	if _, err := free.TryLock(t.Context()); !trouble.is(err) || errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock: %v, want %s", err, trouble.word)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("TryLock took %v", d)
	}
	// A renewal says so, and the lease lasts; unless it needs nothing that is refused.
	switch err := lease.Renew(t.Context()); {
	case trouble.renews != (err == nil) || err != nil && !trouble.is(err) || errors.Is(err, holdfast.ErrLost):
		t.Errorf("Renew: %v", err)
	case lease.Err() != nil:
		t.Errorf("the lease: %v", lease.Err())
	}
	if trouble.lasts {
		lasts(b, trouble, lease, other, waiting)
		mend()
		return
	}
	// A wait that ends meanwhile says why, beside its own end.
	short := 150 * time.Millisecond
	if trouble.word == "LOADING" { // it answers when it finds the time
		short = time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if _, err := third.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !trouble.is(err) {
		t.Errorf("Lock until a deadline: %v", err)
	}
	passes(b, trouble, lease, contract.Go(t.Context(), other), waiting, mend)
}

// lasts: nobody waits for what will not pass.
func lasts(b *bed, trouble trouble, lease *holdfast.Lease, other holdfast.Locker, waiting <-chan contract.Result) {
	t := b.t
	t.Helper()
	if r := contract.Get(t, waiting); !trouble.is(r.Err) {
		t.Errorf("the waiter: %v", r.Err)
	}
	if r := contract.Get(t, contract.Go(t.Context(), other)); !trouble.is(r.Err) {
		t.Errorf("Lock: %v", r.Err)
	}
	if err := lease.Release(t.Context()); !trouble.is(err) {
		t.Errorf("Release: %v", err)
	}
}

// passes: who waits goes on waiting, and a release is sent until it is taken.
func passes(b *bed, trouble trouble, lease *holdfast.Lease, other, waiting <-chan contract.Result, mend func()) {
	t := b.t
	t.Helper()
	released := make(chan error, 1)
	go func() { released <- lease.Release(t.Context()) }()
	if trouble.renews {
		if err := <-released; err != nil {
			t.Errorf("Release: %v", err)
		}
		r := contract.Get(t, waiting) // the hand-over needs no memory either
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		released, lease = make(chan error, 1), r.Lease
		released <- r.Lease.Release(t.Context())
		waiting = nil
	}
	time.Sleep(450 * time.Millisecond) // polls, retries of the release and of the acquire
	if len(other) > 0 || len(waiting) > 0 {
		t.Error("a Lock did not wait")
	}
	mend()
	err := <-released
	if trouble.word == "LOADING" && trouble.is(err) {
		err = nil // it ends when it has the time, and the release is sent until then
	}
	if err != nil {
		t.Errorf("Release: %v", err)
	}
	// In any order: a place whose polls are refused for long is lost, and taken anew.
	for range 2 {
		var r contract.Result
		select {
		case r = <-waiting:
			waiting = nil
		case r = <-other:
			other = nil
		case <-time.After(30 * time.Second):
			t.Fatal("a Lock does not return")
		}
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if r.Lease.Token() <= lease.Token() {
			t.Errorf("token %d after %d", r.Lease.Token(), lease.Token())
		}
		lease = r.Lease
		contract.Release(t, lease)
		if waiting == nil && other == nil {
			return
		}
	}
}
