package guard

import (
	"fmt"
	"strings"
)

// ColumnSQL is the statement that adds the token's column to the table:
//
//	ALTER TABLE accounts ADD COLUMN last_token BIGINT NOT NULL DEFAULT 0
//
// The error Is holdfast.ErrInvalid if a name or the dialect is bad, here and below.
func (t Table) ColumnSQL() (string, error) {
	t, err := t.filled()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s BIGINT NOT NULL DEFAULT 0", t.Name, t.Token), nil
}

// UpdateSQL is the guarded UPDATE of the columns, for who does not use database/sql.
// Without columns it is the check alone. Its arguments are the columns' values in
// order, the token, the key and the token again. For Postgres:
//
//	UPDATE accounts SET balance = $1, last_token = $2 WHERE id = $3 AND last_token <= $4
//
// If no row is affected, ask [Table.LookSQL] why. MySQL's count also leaves out rows
// that the statement does not change, unless the connection has clientFoundRows.
func (t Table) UpdateSQL(columns ...string) (string, error) {
	t, err := t.filled(columns...)
	if err != nil {
		return "", err
	}
	p := placeholders{dialect: t.Dialect}
	var set strings.Builder
	for _, column := range append(columns[:len(columns):len(columns)], t.Token) {
		if set.Len() > 0 {
			set.WriteString(", ")
		}
		set.WriteString(column + " = " + p.next())
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s = %s AND %s <= %s",
		t.Name, &set, t.Key, p.next(), t.Token, p.next()), nil
}

// UpsertSQL is the guarded INSERT of a row, or UPDATE where there is one. Its
// arguments are the key, the columns' values in order, and the token. For Postgres
// and, with ? for $n, SQLite:
//
//	INSERT INTO accounts AS guarded (id, balance, last_token) VALUES ($1, $2, $3)
//	ON CONFLICT (id) DO UPDATE SET balance = excluded.balance, last_token = excluded.last_token
//	WHERE guarded.last_token <= excluded.last_token
//
// No row affected means that the token is stale. MySQL has no such WHERE: there each
// column is set to itself if the token is stale, and the count of rows says nothing
// sure, so look afterwards in the same transaction whether the token that is kept is
// above one's own. MySQL also takes a clash in any other unique index for the row: let
// the key be the only one.
func (t Table) UpsertSQL(columns ...string) (string, error) {
	t, err := t.filled(columns...)
	if err != nil {
		return "", err
	}
	p := placeholders{dialect: t.Dialect}
	all := append(append([]string{t.Key}, columns...), t.Token)
	values := make([]string, len(all))
	for i := range all {
		values[i] = p.next()
	}
	alias := " AS guarded"
	if t.Dialect == MySQL {
		alias = ""
	}
	return fmt.Sprintf("INSERT INTO %s%s (%s) VALUES (%s) %s", t.Name, alias,
		strings.Join(all, ", "), strings.Join(values, ", "), t.onConflict(columns)), nil
}

// onConflict is what happens to the row that is there.
func (t Table) onConflict(columns []string) string {
	sets := make([]string, 0, len(columns)+1)
	if t.Dialect == MySQL {
		for _, c := range columns {
			sets = append(sets, fmt.Sprintf("%[1]s = IF(%[2]s <= VALUES(%[2]s), VALUES(%[1]s), %[1]s)", c, t.Token))
		}
		// In whatever order these are assigned: the greater of both tokens is the new
		// one exactly if the new one passes.
		sets = append(sets, fmt.Sprintf("%[1]s = GREATEST(%[1]s, VALUES(%[1]s))", t.Token))
		return "ON DUPLICATE KEY UPDATE " + strings.Join(sets, ", ")
	}
	for _, c := range append(columns[:len(columns):len(columns)], t.Token) {
		sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", c))
	}
	return fmt.Sprintf("ON CONFLICT (%s) DO UPDATE SET %s WHERE guarded.%[3]s <= excluded.%[3]s",
		t.Key, strings.Join(sets, ", "), t.Token)
}

// LookSQL asks for the token that a row keeps. Its argument is the key. No row: there
// is none, and nobody was refused. A token above one's own: that one is stale.
//
// On MySQL it locks the row, because a plain SELECT may answer from before the
// statement that affected nothing.
func (t Table) LookSQL() (string, error) {
	t, err := t.filled()
	if err != nil {
		return "", err
	}
	p := placeholders{dialect: t.Dialect}
	text := fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", t.Token, t.Name, t.Key, p.next())
	if t.Dialect == MySQL {
		text += " FOR UPDATE"
	}
	return text, nil
}

// placeholders are the marks of a statement's arguments, in their order.
type placeholders struct {
	dialect Dialect
	n       int
}

func (p *placeholders) next() string {
	p.n++
	if p.dialect == Postgres {
		return fmt.Sprintf("$%d", p.n)
	}
	return "?"
}
