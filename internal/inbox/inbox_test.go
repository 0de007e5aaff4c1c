package inbox_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/inbox"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const channel = "holdfast:inbox:test"

// client is what an inbox tells.
type client struct {
	*inbox.Inbox
	t *testing.T

	mu         sync.Mutex
	subscribed int
	messages   []string
	log        strings.Builder
}

func newClient(t *testing.T, rdb inbox.Subscriber) *client {
	t.Helper()
	c := &client{t: t}
	c.Inbox = inbox.New(rdb, inbox.Config{
		Channel: channel,
		Message: func(payload string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.messages = append(c.messages, payload)
		},
		Subscribed: func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.subscribed++
		},
		Refused: func(err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.log.WriteString(err.Error() + "\n")
		},
	})
	t.Cleanup(func() { c.close(20 * time.Second) })
	return c
}

// close wants the end of the goroutine within d and returns what it took.
func (c *client) close(d time.Duration) time.Duration {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), d)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); err != nil {
		c.t.Errorf("Close = %v", err)
	}
	return time.Since(start)
}

func (c *client) subscriptions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscribed
}

func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

func (c *client) logged() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Split(strings.TrimSuffix(c.log.String(), "\n"), "\n")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// listening starts the inbox and waits until it is subscribed.
func (c *client) listening() {
	c.t.Helper()
	c.Start()
	eventually(c.t, "the subscription", func() bool { return c.subscriptions() == 1 && c.Live() })
}

// gets wants that message to arrive, and those before it to have arrived once.
func (c *client) gets(admin *redis.Client, text string) {
	c.t.Helper()
	if n, err := admin.Publish(c.t.Context(), channel, text).Result(); err != nil || n != 1 {
		c.t.Fatalf("PUBLISH reached %d subscribers, %v", n, err)
	}
	eventually(c.t, "the message "+text, func() bool { return slices.Contains(c.received(), text) })
}

// pubsubs is how many connections are subscribed to anything.
func pubsubs(t *testing.T, admin *redis.Client) int {
	t.Helper()
	list, err := admin.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(list, "\n")
}

func kill(t *testing.T, admin *redis.Client) {
	t.Helper()
	if err := admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestStartsLazily(t *testing.T) {
	s := testredis.Start(t)
	admin := s.Client(t)
	rdb := s.Client(t)
	c := newClient(t, rdb)
	time.Sleep(50 * time.Millisecond)
	if c.Live() || rdb.PoolStats().TotalConns != 0 || pubsubs(t, admin) != 0 {
		t.Fatal("subscribed before Start")
	}
	var starts sync.WaitGroup
	for range 20 {
		starts.Go(c.Start)
	}
	starts.Wait()
	c.listening()
	if n := pubsubs(t, admin); n != 1 {
		t.Fatalf("%d connections", n)
	}
	c.gets(admin, "x")
	if n := c.subscriptions(); n != 1 {
		t.Fatalf("subscribed %d times", n)
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	s := testredis.Start(t)
	admin := s.Client(t)
	c := newClient(t, s.Client(t))
	c.listening()
	var want []string
	for i := range 500 {
		want = append(want, strconv.Itoa(i))
		if err := admin.Publish(t.Context(), channel, want[i]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Publish(t.Context(), channel+"2", "not for us").Err(); err != nil {
		t.Fatal(err)
	}
	c.gets(admin, "end")
	if got := c.received(); !slices.Equal(got, append(want, "end")) {
		t.Fatalf("received %q", got)
	}
}

// What was lost in the gap must be looked up, so each new subscription is told.
func TestSubscribedAfterEachKill(t *testing.T) {
	s := testredis.Start(t)
	admin := s.Client(t)
	c := newClient(t, s.Client(t))
	c.listening()
	for i := range 8 {
		start := time.Now()
		kill(t, admin)
		eventually(t, "another subscription", func() bool { return c.subscriptions() == i+2 })
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v to come back", d)
		}
		c.gets(admin, "after kill "+strconv.Itoa(i))
		if n := pubsubs(t, admin); n != 1 || !c.Live() {
			t.Fatalf("%d connections, live: %v", n, c.Live())
		}
	}
	if got := c.logged(); !slices.Equal(got, []string{""}) {
		t.Fatalf("logged %q", got)
	}
}

func TestComesBackWithItsServer(t *testing.T) {
	s := testredis.Start(t)
	rdb := s.Client(t, func(o *redis.Options) { o.DialerRetries, o.MaxRetries = 1, -1 })
	c := newClient(t, rdb)
	c.listening()
	s.Kill()
	eventually(t, "to notice", func() bool { return !c.Live() })
	s.Restart()
	eventually(t, "another subscription", func() bool { return c.subscriptions() == 2 && c.Live() })
	c.gets(s.Client(t), "x")
}

func TestCutByTheNetwork(t *testing.T) {
	s := testredis.Start(t)
	proxy := faultproxy.New(t, s.Addr())
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	c := newClient(t, rdb)
	c.listening()
	held := proxy.Add(faultproxy.IsCommand("SUBSCRIBE"), faultproxy.HoldReply)
	proxy.CutPubSub()
	if err := held.WaitHit(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "to notice", func() bool { return !c.Live() })
	if c.subscriptions() != 1 {
		t.Fatal("counts as subscribed before Redis said so")
	}
	held.Remove()
	held.Release()
	eventually(t, "another subscription", func() bool { return c.subscriptions() == 2 && c.Live() })
	c.gets(s.Client(t), "x")
}

// A user with no channels polls; the reason is said once, until it passes.
func TestSubscribeRefused(t *testing.T) {
	s := testredis.Start(t)
	admin := s.Client(t)
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "mute"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	acl("on", ">secret", "~*", "+@all", "resetchannels")
	refusals := func() int {
		t.Helper()
		entries, err := admin.ACLLog(t.Context(), 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, e := range entries {
			n += e.Count
		}
		return int(n)
	}
	proxy := faultproxy.New(t, s.Addr())
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Username: "mute", Password: "secret"})
	t.Cleanup(func() { _ = rdb.Close() })
	asked := proxy.Add(faultproxy.IsCommand("SUBSCRIBE"), faultproxy.Pass)
	c := newClient(t, rdb)
	c.Start()
	eventually(t, "four attempts", func() bool { return refusals() >= 4 })
	if c.Live() || c.subscriptions() != 0 {
		t.Fatal("counts as subscribed")
	}
	wantLog := func(lines int) {
		t.Helper()
		got := c.logged()
		if len(got) != lines {
			t.Fatalf("logged %q, want %d lines", got, lines)
		}
		for _, line := range got {
			if !strings.Contains(line, "NOPERM") {
				t.Fatalf("logged %q", line)
			}
		}
	}
	wantLog(1)

	acl("&" + channel)
	eventually(t, "a subscription once it is allowed", c.Live)
	c.gets(admin, "x")
	before := asked.Hits()

	acl("resetchannels") // Redis closes the connection, and refuses the next one
	eventually(t, "more attempts", func() bool { return asked.Hits() >= before+3 })
	eventually(t, "a second line", func() bool { return len(c.logged()) == 2 })
	if c.Live() || c.subscriptions() != 1 {
		t.Fatal("counts as subscribed")
	}
	wantLog(2)
}

func TestCloseIsPromptAndFinal(t *testing.T) {
	s := testredis.Start(t)
	admin := s.Client(t)
	c := newClient(t, s.Client(t))
	c.listening()
	if d := c.close(10 * time.Second); d > time.Second {
		t.Fatalf("Close took %v", d)
	}
	c.close(time.Second) // twice is fine
	c.Start()
	if c.Live() {
		t.Fatal("live after Close")
	}
	eventually(t, "no connection", func() bool { return pubsubs(t, admin) == 0 })
	if n := c.subscriptions(); n != 1 {
		t.Fatalf("subscribed %d times", n)
	}
}

func TestCloseBeforeStart(t *testing.T) {
	s := testredis.Start(t)
	rdb := s.Client(t)
	c := newClient(t, rdb)
	c.close(time.Second)
	c.close(time.Second)
	c.Start()
	if c.Live() || rdb.PoolStats().TotalConns != 0 {
		t.Fatal("Start after Close subscribed")
	}
}

func TestCloseBetweenAttempts(t *testing.T) {
	s := testredis.Start(t)
	rdb := s.Client(t, func(o *redis.Options) { o.DialerRetries, o.MaxRetries = 1, -1 })
	c := newClient(t, rdb)
	c.listening()
	s.Kill()
	eventually(t, "to notice", func() bool { return !c.Live() })
	time.Sleep(200 * time.Millisecond) // so that the pauses are long
	if d := c.close(10 * time.Second); d > 3*time.Second {
		t.Fatalf("Close took %v", d)
	}
}

// A subscribed connection needs no answer of the server to be closed.
func TestCloseWhileTheServerHangs(t *testing.T) {
	s := testredis.Start(t)
	c := newClient(t, s.Client(t))
	c.listening()
	s.Pause()
	defer s.Resume()
	if d := c.close(10 * time.Second); d > time.Second {
		t.Fatalf("Close took %v", d)
	}
}

// Nor does Close wait longer than it may for a subscription that hangs, be it
// that the server never answers or that it comes back.
func TestCloseWhileSubscribingHangs(t *testing.T) {
	for name, comesBack := range map[string]bool{"for ever": false, "for a while": true} {
		t.Run(name, func(t *testing.T) {
			s := testredis.Start(t)
			c := newClient(t, s.Client(t, func(o *redis.Options) { o.ReadTimeout = 2 * time.Second }))
			s.Pause()
			defer s.Resume()
			c.Start()
			time.Sleep(50 * time.Millisecond) // it is dialling
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := c.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Close = %v", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Fatalf("Close took %v", d)
			}
			if comesBack {
				s.Resume()
			}
			c.close(20 * time.Second) // the driver's timeouts end the rest
			if c.Live() || c.subscriptions() != 0 {
				t.Fatal("counts as subscribed")
			}
		})
	}
}

// mute is a server that answers SUBSCRIBE, and PING only as often as it is told.
type mute struct {
	refuse bool // SUBSCRIBE
	mu     sync.Mutex
	pongs  int
	log    []string
	start  time.Time
}

func (m *mute) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:6379", Dialer: m.dial, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
	})
}

func (m *mute) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go m.serve(far)
	return near, nil
}

func (m *mute) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		words, err := readCommand(in)
		if err != nil {
			return
		}
		reply := "-ERR unknown command\r\n"
		name := strings.ToUpper(words[0])
		m.mu.Lock()
		switch name {
		case "SUBSCRIBE":
			reply = "*3\r\n$9\r\nsubscribe\r\n$" + strconv.Itoa(len(channel)) + "\r\n" + channel + "\r\n:1\r\n"
			if m.refuse {
				reply = "-NOPERM no permissions\r\n"
			}
		case "PING":
			reply = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
			if m.pongs--; m.pongs < 0 {
				reply = ""
			}
		}
		if name != "HELLO" && name != "CLIENT" {
			m.log = append(m.log, name+" "+time.Since(m.start).String())
		}
		m.mu.Unlock()
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.Trim(line, "*\r\n"))
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		if _, err = in.ReadString('\n'); err != nil { // its length
			return nil, err
		}
		if words[i], err = in.ReadString('\n'); err != nil {
			return nil, err
		}
		words[i] = strings.TrimSpace(words[i])
	}
	return words, nil
}

// A connection that is half open says nothing: it is asked after a silence, and
// given up after a second one.
func TestHalfOpenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mute{pongs: 2, start: time.Now()}
		rdb := m.client()
		c := newClient(t, rdb)
		c.Start()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if n := c.subscriptions(); n != 2 || !c.Live() {
			t.Errorf("subscribed %d times, live: %v", n, c.Live())
		}
		c.close(time.Second)
		if err := rdb.Close(); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		want := []string{"SUBSCRIBE 0s", "PING 15s", "PING 30s", "PING 45s", "SUBSCRIBE 1m0.01s"}
		if !slices.Equal(m.log, want) {
			t.Errorf("the server saw %q, want %q", m.log, want)
		}
	})
}

// Attempts become rare, but not for ever.
func TestPausesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mute{refuse: true, start: time.Now()}
		rdb := m.client()
		c := newClient(t, rdb)
		c.Start()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		c.close(time.Second)
		if err := rdb.Close(); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		var want []string
		for _, ms := range []int{0, 10, 30, 70, 150, 310, 630, 1270, 2550, 4550, 6550} {
			want = append(want, "SUBSCRIBE "+(time.Duration(ms)*time.Millisecond).String())
		}
		if !slices.Equal(m.log, want) {
			t.Errorf("the server saw %q, want %q", m.log, want)
		}
	})
}
