package faultproxy_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

func TestDuplicateLate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.IsCommand("INCR"), faultproxy.DuplicateLate)
	if n, err := b.rdb.Incr(limit(t), "n").Result(); n != 1 || err != nil {
		t.Fatalf("INCR = %d, %v", n, err)
	}
	if b.get(t, "n") != "1" {
		t.Fatal("the copy was sent at once")
	}
	if err := b.rdb.Close(); err != nil { // the sender has gone
		t.Fatal(err)
	}
	for _, want := range []string{"2", "3"} {
		if err := rule.SendCopies(limit(t)); err != nil || b.get(t, "n") != want {
			t.Fatalf("SendCopies: %v, n = %s, want %s", err, b.get(t, "n"), want)
		}
	}
}

// A copy needs what its first connection was prepared with.
func TestCopyGoesOverAConnectionPreparedAlike(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, "--requirepass", "geheim")
	proxy := faultproxy.New(t, server.Addr())
	for name, opt := range map[string]func(*redis.Options){"RESP3": func(*redis.Options) {}, "RESP2": resp2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := newClient(t, proxy, opt, func(o *redis.Options) { o.Password, o.DB = "geheim", 5 })
			rule := proxy.Add(faultproxy.HasArg(name), faultproxy.DuplicateLate)
			if err := rdb.Incr(limit(t), name).Err(); err != nil {
				t.Fatal(err)
			}
			if err := rule.SendCopies(limit(t)); err != nil {
				t.Fatal(err)
			}
			if n, err := rdb.Get(limit(t), name).Int(); n != 2 || err != nil {
				t.Fatalf("GET = %d, %v, want 2", n, err)
			}
		})
	}
}

func TestSendCopiesSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.IsCommand("EVALSHA"), faultproxy.DuplicateLate)
	if err := rule.SendCopies(limit(t)); err == nil {
		t.Fatal("there was nothing to copy")
	}
	sha, err := b.direct.ScriptLoad(t.Context(), "return 1").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.rdb.EvalSha(limit(t), sha, nil).Err(); err != nil {
		t.Fatal(err)
	}
	b.direct.ScriptFlush(t.Context())
	if err := rule.SendCopies(limit(t)); err == nil {
		t.Fatal("NOSCRIPT was taken for success")
	}
	b.server.Pause()
	if err := rule.SendCopies(soon(t)); err == nil {
		t.Fatal("a copy without an answer was taken for success")
	}
	b.server.Resume()
}
