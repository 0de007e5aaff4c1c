package testredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	binaryVariable = "HOLDFAST_TEST_SERVER"
	defaultBinary  = "redis-server"

	startTimeout = 20 * time.Second // generous: it is only ever spent by a server that is broken
	pollInterval = 2 * time.Millisecond
	startTries   = 5 // the port may be taken between the look and the bind
	callTimeout  = 10 * time.Second
)

// Server is a Redis server of one test. Its methods are safe for concurrent use,
// but those that start the server belong to the goroutine of the test.
type Server struct {
	tb     testing.TB
	binary string
	dir    string
	port   *port
	base   func(*Server) []string // the arguments before args

	mu    sync.Mutex
	args  []string
	proc  *process
	admin *redis.Client // what the helpers use; a new one with each process
}

// Start runs a server on a free port of 127.0.0.1 and returns when it answers. The
// server keeps nothing on disk and allows DEBUG; args are given to it last, so they
// win. It is stopped, and its directory removed, when the test ends, and it dies
// with the test process.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return start(tb, (*Server).dataArgs, args)
}

func start(tb testing.TB, base func(*Server) []string, args []string) *Server {
	tb.Helper()
	binary := findBinary(tb)
	s := &Server{tb: tb, binary: binary, dir: tb.TempDir(), base: base, args: args}
	tb.Cleanup(s.cleanup)

	var err error
	for range startTries {
		if err = s.moveToFreePort(tb.Context()); err != nil {
			break
		}
		if err = s.launch(s.answersCommands); !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		tb.Fatalf("testredis: start %s: %v\n%s", binary, err, s.logTail())
	}
	return s
}

// Flush empties every database of the server behind rdb. It leaves the script cache.
func Flush(tb testing.TB, rdb redis.Cmdable) {
	tb.Helper()
	if err := rdb.FlushAll(tb.Context()).Err(); err != nil {
		tb.Fatalf("testredis: flush: %v", err)
	}
}

// Addr returns host:port. It stays the same over [Server.Restart].
func (s *Server) Addr() string { return s.port.addr() }

// Client returns a client of the server, closed when the test ends. Each opt may
// change the options; the address, and a password given by --requirepass, are set.
func (s *Server) Client(tb testing.TB, opts ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	o := &redis.Options{Addr: s.Addr(), Password: s.password()}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClient(o)
	tb.Cleanup(func() { _ = rdb.Close() }) // a test may have closed it before
	return rdb
}

// Stop ends the server as an operator would, by SIGTERM, and waits until it is
// gone. A server that does not end in time is killed. To stop a stopped server does
// nothing.
func (s *Server) Stop() {
	if p := s.process(); p != nil {
		p.stop()
	}
}

// Kill ends the server by SIGKILL, as a crash does, and waits until it is gone.
func (s *Server) Kill() {
	if p := s.process(); p != nil {
		p.kill()
	}
}

// Restart stops the server, if it still runs, and starts it again on the same port
// and in the same directory, with args after those it had before. It returns when
// the server has loaded its data and answers.
func (s *Server) Restart(args ...string) {
	s.tb.Helper()
	s.restart(s.answersCommands, args)
}

// RestartLoading is [Server.Restart], but returns as soon as the server accepts
// connections, even if it answers LOADING.
func (s *Server) RestartLoading(args ...string) {
	s.tb.Helper()
	s.restart(s.answersInfo, args)
}

// Pause stops the process by SIGSTOP: connections stay open and new ones are
// accepted by the kernel, but nothing is answered until [Server.Resume]. When Pause
// returns, the server executes nothing more.
func (s *Server) Pause() {
	s.tb.Helper()
	if err := s.process().pause(); err != nil {
		s.tb.Errorf("testredis: pause: %v", err)
	}
}

// Resume lets a paused server go on, by SIGCONT. It then executes what was sent to
// it in the meantime.
func (s *Server) Resume() {
	s.tb.Helper()
	if err := s.process().resume(); err != nil {
		s.tb.Errorf("testredis: resume: %v", err)
	}
}

func findBinary(tb testing.TB) string {
	tb.Helper()
	name := os.Getenv(binaryVariable)
	if name == "" {
		name = defaultBinary
	}
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("testredis: this test needs a real Redis server and %q was not found: "+
			"`make test` installs it, or set %s to a redis-server binary", name, binaryVariable)
	}
	return path
}

func (s *Server) moveToFreePort(ctx context.Context) error {
	if s.port != nil {
		s.port.release()
	}
	p, err := reservePort(ctx)
	s.port = p
	return err
}

func (s *Server) restart(ready readiness, args []string) {
	s.tb.Helper()
	s.Stop()
	s.mu.Lock()
	s.args = append(slices.Clone(s.args), args...)
	s.mu.Unlock()
	var err error
	for range startTries {
		if err = s.launch(ready); !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		s.tb.Fatalf("testredis: restart: %v\n%s", err, s.logTail())
	}
}

// launch starts one process and waits until it is ready. After an error no process
// is left.
func (s *Server) launch(ready readiness) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), startTimeout)
	defer cancel()
	p, err := startProcess(ctx, s.binary, append(s.base(s), s.args...), s.logPath())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	admin, err := s.await(ctx, p, ready)
	if err != nil {
		p.kill()
		return err
	}
	s.replaceAdmin(admin)
	return nil
}

// dataArgs are those of a server that holds data.
func (s *Server) dataArgs() []string {
	return []string{
		"--port", strconv.Itoa(s.port.number), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no",
		"--enable-debug-command", "yes", "--protected-mode", "no",
	}
}

// A readiness asks once whether the process with this pid can be used.
type readiness func(ctx context.Context, rdb *redis.Client, pid int) error

// await returns the client to which the process answered.
func (s *Server) await(ctx context.Context, p *process, ready readiness) (*redis.Client, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		rdb, err := s.probe(ctx, p, ready)
		if err == nil {
			return rdb, nil
		}
		select {
		case <-p.exited:
			return nil, errExited
		case <-ctx.Done():
			return nil, fmt.Errorf("not ready: %w", err)
		case <-ticker.C:
		}
	}
}

// probe dials by itself first: a go-redis client that is refused a connection logs
// it, and when that happens often it answers from memory for a second and leaves a
// goroutine asleep as long, even when it was closed.
func (s *Server) probe(ctx context.Context, p *process, ready readiness) (*redis.Client, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	rdb := redis.NewClient(s.options())
	if err := ready(ctx, rdb, p.pid()); err != nil {
		_ = rdb.Close()
		return nil, err
	}
	return rdb, nil
}

// answersInfo asks for the process id as well: if the port was taken by another
// test's server, that one would answer.
func (*Server) answersInfo(ctx context.Context, rdb *redis.Client, pid int) error {
	info, err := rdb.InfoMap(ctx, "server").Result()
	if err != nil {
		return err
	}
	if got := info["Server"]["process_id"]; got != strconv.Itoa(pid) {
		return fmt.Errorf("the port is that of process %s, not %d", got, pid)
	}
	return nil
}

// answersCommands takes an error reply for an answer, since a replica without its
// master may give nothing else, but LOADING passes.
func (s *Server) answersCommands(ctx context.Context, rdb *redis.Client, pid int) error {
	if err := s.answersInfo(ctx, rdb, pid); err != nil {
		return err
	}
	err := rdb.Ping(ctx).Err()
	var refused redis.Error
	if errors.As(err, &refused) && !redis.HasErrorPrefix(err, "LOADING") {
		return nil
	}
	return err
}

// options are those of the helpers' own clients: no retries, so that an error is
// seen at once.
func (s *Server) options() *redis.Options {
	return &redis.Options{
		Addr: s.Addr(), Password: s.password(),
		MaxRetries: -1, DisableIdentity: true,
		DialTimeout: callTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout,
	}
}

func (s *Server) password() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var password string
	for i, arg := range s.args[:max(0, len(s.args)-1)] {
		if arg == "--requirepass" {
			password = s.args[i+1]
		}
	}
	return password
}

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) client() *redis.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admin
}

func (s *Server) replaceAdmin(admin *redis.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin != nil {
		_ = s.admin.Close() // its connections are as dead as their server
	}
	s.admin = admin
}

func (s *Server) cleanup() {
	s.replaceAdmin(nil)
	s.Kill() // a tenth of a second faster than Stop, and the directory goes anyway
	if s.port == nil {
		return // there was none to be had
	}
	s.port.release()
	if s.tb.Failed() {
		s.tb.Logf("testredis: last lines of the server at %s:\n%s", s.Addr(), s.logTail())
	}
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "server.log") }

func (s *Server) logTail() string {
	const lines = 20
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return "(no log)"
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// dial opens a plain connection, for what a client library would get in the way of.
func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: callTimeout}
	return d.DialContext(ctx, "tcp", s.Addr())
}
