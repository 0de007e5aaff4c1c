package faultproxy

import (
	"crypto/sha1" // what EVALSHA is defined by
	"encoding/hex"
	"slices"
	"strings"
)

// Command is one request of a client.
type Command struct {
	Name string   // upper case; of SCRIPT LOAD it is SCRIPT
	Args []string // what follows the name
	Conn int64    // the connection, counted from 1 in the order of arrival
}

func newCommand(conn int64, words []string) Command {
	return Command{Name: strings.ToUpper(words[0]), Args: words[1:], Conn: conn}
}

// A Matcher picks requests. Each request is shown once to the matcher of each rule,
// in the order of arrival at the proxy and never by two goroutines at once. A
// matcher must not call the proxy.
type Matcher func(Command) bool

// Any matches every request, the HELLO of a new connection too.
func Any() Matcher { return func(Command) bool { return true } }

// IsCommand matches requests by their names, in any case.
func IsCommand(names ...string) Matcher {
	return func(c Command) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, c.Name) })
	}
}

// HasArg matches requests of which one argument is exactly arg: a key, a channel.
func HasArg(arg string) Matcher {
	return func(c Command) bool { return slices.Contains(c.Args, arg) }
}

// OnConn matches the requests of one connection.
func OnConn(id int64) Matcher {
	return func(c Command) bool { return c.Conn == id }
}

// IsScript matches each run of the script with this source: EVAL with the source,
// EVALSHA with its hash, and their read-only forms.
func IsScript(source string) Matcher { return IsSHA(sha1Hex(source)) }

// IsSHA is [IsScript] for a script of which the hash is known, in lower-case hex.
func IsSHA(sha string) Matcher {
	return func(c Command) bool {
		if len(c.Args) == 0 {
			return false
		}
		switch c.Name {
		case "EVAL", "EVAL_RO":
			return sha1Hex(c.Args[0]) == sha
		case "EVALSHA", "EVALSHA_RO":
			return strings.EqualFold(c.Args[0], sha)
		default:
			return false
		}
	}
}

// All matches what every one of ms matches. They are asked in order, up to the first
// that says no, so put one that counts last.
func All(ms ...Matcher) Matcher {
	return func(c Command) bool {
		return !slices.ContainsFunc(ms, func(m Matcher) bool { return !m(c) })
	}
}

// Not matches what m does not.
func Not(m Matcher) Matcher {
	return func(c Command) bool { return !m(c) }
}

// Nth matches only the nth request, from 1, that m matches. It counts on behalf of
// one rule: make a new one for each.
func Nth(n int, m Matcher) Matcher {
	seen := 0
	return func(c Command) bool {
		if m(c) {
			seen++
			return seen == n
		}
		return false
	}
}

// First matches the first n requests that m matches. It counts on behalf of one
// rule, as [Nth] does.
func First(n int, m Matcher) Matcher {
	seen := 0
	return func(c Command) bool {
		if m(c) {
			seen++
			return seen <= n
		}
		return false
	}
}

func sha1Hex(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
