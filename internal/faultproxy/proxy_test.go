package faultproxy_test

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

func TestProxyIsTransparent(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]func(*redis.Options){"RESP3": func(*redis.Options) {}, "RESP2": resp2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, opt)
			ctx := limit(t)
			big := string(bytes.Repeat([]byte("\r\n$5"), 1<<18))
			if err := b.rdb.Set(ctx, "big", big, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := b.rdb.Get(ctx, "big").Result(); got != big || err != nil {
				t.Fatalf("%d bytes came back, %v", len(got), err)
			}
			if err := b.rdb.HSet(ctx, "hash", "a", "1", "b", "").Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := b.rdb.HGetAll(ctx, "hash").Result(); len(got) != 2 || got["a"] != "1" || err != nil {
				t.Fatalf("HGETALL = %v, %v", got, err)
			}
			nested := `return {1, {2, {'x', false}}, redis.status_reply('fine')}`
			if got, err := b.rdb.Eval(ctx, nested, nil).Slice(); len(got) != 3 || got[2] != "fine" || err != nil {
				t.Fatalf("EVAL = %v, %v", got, err)
			}
			if err := b.rdb.LPush(ctx, "big", "x").Err(); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Fatalf("LPUSH = %v, want WRONGTYPE", err)
			}
		})
	}
}

func TestManyConnectionsKeepTheirRepliesApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Add(faultproxy.IsCommand("ECHO"), faultproxy.Pass)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 20 {
				if err := echoPipeline(limit(t), b.rdb, worker*1000+i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// echoPipeline fails if any reply goes to another request.
func echoPipeline(ctx context.Context, rdb *redis.Client, n int) error {
	var replies []*redis.StringCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 10 {
			replies = append(replies, p.Echo(ctx, strconv.Itoa(n*10+i)))
		}
		return nil
	})
	for i, reply := range replies {
		if want := strconv.Itoa(n*10 + i); reply.Val() != want {
			return &mixedUpError{got: reply.Val(), want: want}
		}
	}
	return err
}

type mixedUpError struct{ got, want string }

func (e *mixedUpError) Error() string { return "got the reply " + e.got + ", want " + e.want }

func TestServerGoneAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := dialWire(t, b.proxy.Addr())
	w.send("PING")
	w.expect("+PONG")
	b.server.Kill()
	w.expectEnd()
	dialWire(t, b.proxy.Addr()).expectEnd() // nobody to talk to
	b.server.Restart()
	w = dialWire(t, b.proxy.Addr())
	w.send("PING")
	w.expect("+PONG")
}

func TestLastWordsOfTheServerAreDelivered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := dialWire(t, b.proxy.Addr())
	w.send("PING", "QUIT")
	w.expect("+PONG +OK")
	w.expectEnd()
	poll(t, "the connection is forgotten", func() bool { return b.proxy.Conns() == 0 })
}

func TestWhatIsNoRequestEndsTheConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, text := range []string{"PING\r\n", "*1\r\n$x\r\n", "*0\r\n", "\r\n", "$4\r\nPING\r\n"} {
		w := dialWire(t, b.proxy.Addr())
		if _, err := w.conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		w.expectEnd()
	}
}
