package reentrant_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/reentrant"
)

// java is a client of Redisson as seen on the wire: what its RLock does to the
// hash and to the channel, command by command.
type java struct {
	t     *testing.T
	rdb   redis.UniversalClient
	owner string // "<uuid of the client>:<number of the thread>"
}

const (
	sharedName    = "orders"
	sharedChannel = "redisson_lock__channel:{orders}"
)

// tryLock tells whether it took the lock, and else the TTL that it would wait.
func (j java) tryLock(lease time.Duration) (bool, time.Duration) {
	j.t.Helper()
	ctx := j.t.Context()
	free := j.rdb.Exists(ctx, sharedName).Val() == 0
	if !free && !j.rdb.HExists(ctx, sharedName, j.owner).Val() {
		return false, j.rdb.PTTL(ctx, sharedName).Val()
	}
	j.rdb.HIncrBy(ctx, sharedName, j.owner, 1)
	j.rdb.PExpire(ctx, sharedName, lease)
	return true, 0
}

// unlock tells whether this owner held it.
func (j java) unlock(lease time.Duration) bool {
	j.t.Helper()
	ctx := j.t.Context()
	if !j.rdb.HExists(ctx, sharedName, j.owner).Val() {
		return false
	}
	if j.rdb.HIncrBy(ctx, sharedName, j.owner, -1).Val() > 0 {
		j.rdb.PExpire(ctx, sharedName, lease)
		return true
	}
	j.rdb.Del(ctx, sharedName)
	j.rdb.Publish(ctx, sharedChannel, "0")
	return true
}

func redissonLock(t *testing.T, e *contract.Env, opts ...holdfast.Option) *reentrant.Mutex {
	t.Helper()
	return reentrant.New(e.Client(t, holdfast.WithPrefix("")), sharedName, append(opts, holdfast.WithRedisson())...)
}

// TestRedissonLayout: keys, fields, values, TTL and the published message are
// those of Redisson's RLock.
func TestRedissonLayout(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		heard := e.Redis.Subscribe(ctx, sharedChannel)
		defer func() { _ = heard.Close() }()
		if _, err := heard.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		m := redissonLock(t, e, holdfast.WithTTL(20*time.Second))
		j := java{t, e.Redis, "8743c9c0-0795-4907-87fd-6c719a6b4586:57"}
		state := func(want string) {
			t.Helper()
			all := e.Redis.HGetAll(ctx, sharedName).Val()
			if len(all) != 1 {
				t.Fatalf("the hash is %v", all)
			}
			for owner, n := range all {
				if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f-]{27}:\d+$`).MatchString(owner) || n != want {
					t.Errorf("%q: %q, want a uuid, a number, and %q", owner, n, want)
				}
			}
			if d := e.Redis.PTTL(ctx, sharedName).Val(); d > 20*time.Second || d < 15*time.Second {
				t.Errorf("TTL %v", d)
			}
		}
		outer := lock(t, ctx, m)
		state("1")
		if ok, left := j.tryLock(time.Second); ok || left < 15*time.Second {
			t.Errorf("Redisson took it, or saw %v", left)
		}
		inner := lock(t, outer.Context(ctx), m)
		state("2")
		contract.Release(t, outer)
		state("1")
		if j.unlock(time.Second) {
			t.Error("Redisson unlocked what it does not hold")
		}
		waiting := contract.Go(ctx, m)
		e.AwaitWaiters(t, m, 1)
		contract.Release(t, inner) // to the waiter: nothing for Redisson
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		state("1")
		e.Redis.Publish(ctx, sharedChannel, "end of the first part")
		contract.Release(t, r.Lease) // to nobody
		for _, want := range []string{"end of the first part", "0"} {
			msg, err := heard.ReceiveMessage(ctx)
			if err != nil || msg.Payload != want {
				t.Fatalf("published %q, %v; want %q", msg.Payload, err, want)
			}
		}
		if ok, _ := j.tryLock(time.Second); !ok {
			t.Error("Redisson could not take the free lock")
		}
	})
}

// TestRedissonHolds: what Redisson holds is never joined nor touched, its unlock
// wakes the waiter, and its TTL frees the lock when it dies.
func TestRedissonHolds(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		j := java{t, e.Redis, "8743c9c0-0795-4907-87fd-6c719a6b4586:57"}
		m := redissonLock(t, e)
		mine := lock(t, reentrant.WithOwner(ctx, "job"), m) // leaves shares behind when its hash is gone
		e.Redis.Del(ctx, sharedName)
		for range 2 {
			if ok, _ := j.tryLock(time.Minute); !ok {
				t.Fatal("Redisson could not lock")
			}
		}
		var held *holdfast.HeldError
		for _, as := range []context.Context{ctx, reentrant.WithOwner(ctx, "job")} {
			if _, err := m.TryLock(as); !errors.As(err, &held) || held.Holder != "" || held.Remaining < 50*time.Second {
				t.Errorf("TryLock of what Redisson holds: %v", err)
			}
		}
		_ = mine.Release(ctx) // lost; it must not take Redisson's
		if n := e.Redis.HGet(ctx, sharedName, j.owner).Val(); n != "2" {
			t.Fatalf("Redisson's count is %s", n)
		}
		waiting := contract.Go(ctx, m)
		e.AwaitWaiters(t, m, 1)
		contract.Eventually(t, "the subscription", func() bool {
			return e.Redis.PubSubNumSub(ctx, sharedChannel).Val()[sharedChannel] == 1
		})
		j.unlock(time.Minute)
		if len(waiting) != 0 {
			t.Error("granted while Redisson holds it")
		}
		j.unlock(time.Minute)
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Eventually(t, "nobody to listen any more", func() bool {
			return e.Redis.PubSubNumSub(ctx, sharedChannel).Val()[sharedChannel] == 0
		})
		contract.Release(t, r.Lease)

		j.tryLock(200 * time.Millisecond) // and dies
		contract.Release(t, lock(t, ctx, m))
		e.NothingLeft(t)
	})
}

// TestRedissonWakes: each message on Redisson's channel makes the waiter look,
// rather than its next poll, a quarter of a second away.
func TestRedissonWakes(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		p := faultproxy.New(t, e.Addr)
		c, _ := e.ClientAt(t, p.Addr(), holdfast.WithPrefix(""))
		m := reentrant.New(c, sharedName, holdfast.WithRedisson())
		j := java{t, e.Redis, "8743c9c0-0795-4907-87fd-6c719a6b4586:57"}
		j.tryLock(time.Minute)
		polls := p.Add(faultproxy.All(faultproxy.IsScript(lua.ReentrantAcquire.Source()), faultproxy.HasArg("poll")), faultproxy.Pass)
		waiting := contract.Go(ctx, m)
		contract.Eventually(t, "the subscription", func() bool {
			return e.Redis.PubSubNumSub(ctx, sharedChannel).Val()[sharedChannel] == 1
		})
		const messages = 40
		started := time.Now()
		for range messages {
			before := polls.Hits()
			e.Redis.Publish(ctx, sharedChannel, "0")
			contract.Eventually(t, "a poll", func() bool { return polls.Hits() > before })
		}
		if d := time.Since(started); d > messages*250*time.Millisecond/2 { // without them: one each 250 ms
			t.Errorf("%d messages were followed by polls in %v", messages, d)
		}
		// It survives the end of its connection.
		e.Redis.ClientKillByFilter(ctx, "TYPE", "pubsub")
		contract.Eventually(t, "the subscription to come back", func() bool {
			return e.Redis.PubSubNumSub(ctx, sharedChannel).Val()[sharedChannel] == 1
		})
		j.unlock(time.Minute)
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		contract.Release(t, r.Lease)
	})
}

// TestRedissonOption: it is refused where it means nothing.
func TestRedissonOption(t *testing.T) {
	t.Parallel()
	contract.Backends(t, kind, func(t *testing.T, e *contract.Env) {
		bare, prefixed := e.Client(t, holdfast.WithPrefix("")), e.Client(t, holdfast.WithPrefix("app:"))
		for what, l := range map[string]holdfast.Locker{
			"a client with a prefix": reentrant.New(prefixed, "x", holdfast.WithRedisson()),
			"a mutex":                mutex.New(bare, "x", holdfast.WithRedisson()),
		} {
			if _, err := l.Lock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := holdfast.New(e.Redis, holdfast.WithRedisson()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Errorf("New: %v", err)
		}
	})
}

// TestRedissonChannelRefused: a user who may not listen to Redisson's channel
// still gets its own wake-ups, and finds Redisson's releases by polling.
func TestRedissonChannelRefused(t *testing.T) {
	t.Parallel()
	contract.Real(t, kind, func(t *testing.T, e *contract.Env) {
		ctx := t.Context()
		err := e.Redis.Do(ctx, "ACL", "SETUSER", "go", "on", ">secret", "~*", "+@all", "resetchannels", "&holdfast:*").Err()
		if err != nil {
			t.Fatal(err)
		}
		rdb := redis.NewClient(&redis.Options{Addr: e.Addr, Username: "go", Password: "secret"})
		t.Cleanup(func() { _ = rdb.Close() })
		slow := holdfast.WithBackOff(func() holdfast.BackOff { return every(time.Hour) })
		c, err := holdfast.New(rdb, holdfast.WithPrefix(""), slow)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(ctx)) })
		m := reentrant.New(c, sharedName, holdfast.WithRedisson())
		j := java{t, e.Redis, "8743c9c0-0795-4907-87fd-6c719a6b4586:57"}
		j.tryLock(time.Minute)
		count := e.Real.CountClientCommands(t)
		waiting := contract.Go(ctx, m)
		e.AwaitWaiters(t, m, 1)
		polls := func() int64 { return count.ByName()["EVALSHA"] }
		contract.Eventually(t, "some polls", func() bool { return polls() > 8 })
		if n := count.ByName()["SUBSCRIBE"]; n > 4 {
			t.Errorf("it asked %d times for what was refused", n)
		}
		j.unlock(time.Minute)
		r := contract.Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		for range 5 { // by wake-up: a poll comes after 10 s
			waiting = contract.Go(ctx, m)
			e.AwaitWaiters(t, m, 1)
			contract.Eventually(t, "its own subscription", func() bool {
				return len(e.Redis.PubSubChannels(ctx, "holdfast:inbox:*").Val()) == 1
			})
			contract.Release(t, r.Lease)
			released := time.Now()
			if r = contract.Get(t, waiting); r.Err != nil {
				t.Fatal(r.Err)
			}
			if d := time.Since(released); d > 5*time.Second {
				t.Errorf("woken after %v", d)
			}
		}
		contract.Release(t, r.Lease)
	})
}
