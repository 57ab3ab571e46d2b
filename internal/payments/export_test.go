package payments

import (
	"context"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// ScreeningQueries returns what a verdict reads, by the index that it must be read
// from.
func ScreeningQueries(tx *sqldb.Tx) map[string]string {
	return map[string]string{"orders_counted": windowQuery(), "paid_payees": paidQuery, "handle_keys": likenessQuery(tx)}
}

// AnswersQuery returns what an answer's allowance reads.
func AnswersQuery() string { return answersQuery(10) }

// What is asked for each message and each deletion, to be read by its id.
const (
	OtherFirstIDs = otherFirstIDs
	ChainsQuery   = chainsQuery
)

// OrdersOfDayQuery returns what counts the orders of a payer's day.
func OrdersOfDayQuery() string { return ordersOfDayQuery(10) }

// OutboxQuery is a query of a list of the outbox, with the index that it must be read from.
type OutboxQuery struct {
	Index, Query string
	Args         []any
}

// OutboxQueries returns what a list of the outbox reads.
func OutboxQueries(f OutboxFilter) []OutboxQuery {
	var list []OutboxQuery
	for _, page := range f.pages() {
		list = append(list, OutboxQuery{page.index, "SELECT " + outboxColumns + " FROM outbox AS o WHERE " + page.where + page.tail, page.args})
	}
	return list
}

// OccupyHashSlot takes a slot that a hash is computed in, until release is called.
func (s *Service) OccupyHashSlot() (release func()) {
	s.hashing <- struct{}{}
	return func() { <-s.hashing }
}

// OccupyTurn keeps a customer's codes from being checked until release is called.
func (s *Service) OccupyTurn(ctx context.Context, customer uuid.UUID) (release func(), err error) {
	return s.turns.take(ctx, customer)
}

// Turns returns how many customers have codes under way.
func (s *Service) Turns() int {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	return len(s.turns.of)
}

// CheckChosen refuses a secret code that is too easy to guess.
func CheckChosen(code, phone string) error { return checkChosen(code, phone) }

// SetQuery is a query about many messages, with the index that SQLite must read it from.
type SetQuery struct {
	Query   string
	Columns []sqldb.Column
	Row     []any
	Index   string
}

// SetQueries returns what is asked about messages that are stored or handled together.
func SetQueries() []SetQuery {
	return []SetQuery{
		{relativesQuery, relativesColumns, []any{uuid.Nil, "twitter", "1"}, "messages_by_id"},
		{filedQuery, filedColumns, []any{"twitter", "1"}, "sqlite_autoindex_messages_2"},
		{deletionsQuery, deletionsColumns, []any{int64(1), "twitter", "1", "2"}, "sqlite_autoindex_deletions_1"},
		{linksQuery, linksColumns, []any{"twitter", "1"}, "sqlite_autoindex_links_1"},
		{endsQuery, endsColumns, []any{"twitter:1"}, "outbox_in_order"},
	}
}
