package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// judge looks at what has become of it all.
func (s *soak) judge() {
	s.t.Helper()
	orders, rows := s.allOrders(), s.outbox()
	for _, say := range s.order {
		s.judgeOrders(say, orders[say.firstID])
	}
	s.judgeAnswers(rows)
	s.read(func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Each(ctx, "SELECT first_id, deleted_at, CASE WHEN text IS NULL THEN 0 ELSE 1 END FROM messages", nil, func(rows *sqldb.Rows) error {
			var firstID string
			var deletedAt time.Time
			var text int
			err := rows.Scan(&firstID, &deletedAt, &text)
			if say := s.told[firstID]; text == 1 && (!deletedAt.IsZero() || say != nil && say.deleted && s.sim.DeletionTaken(say.lastID)) {
				s.t.Errorf("the text of tweet %s, which was deleted, is still here", firstID)
			}
			return err
		})
	})
	s.end()
	history := s.history()
	s.runAt(s.clock.Now(), "verify")
	s.judgeUnclaimed()
	s.judgeReconciliation(history)
	s.t.Logf("%d tweets and messages, %d orders, %d answers, %d kills", len(s.order), len(orders), len(rows), s.kills)
}

// judgeUnclaimed wants the account of unclaimed payments to hold what waits, before and
// after its payee joins.
func (s *soak) judgeUnclaimed() {
	s.t.Helper()
	tied := func(when string) string {
		s.t.Helper()
		report := s.runAt(s.clock.Now(), "report", "ageing")
		if !strings.Contains(report, "The payments come to the balance of the account") {
			s.t.Errorf("%s the payee joins:\n%s", when, report)
		}
		return report
	}
	if before := tied("before"); !strings.Contains(before, soakStrangerID) {
		s.t.Errorf("nothing waits:\n%s", before)
	}
	s.runAt(s.clock.Now(), "customer", "link", "c-000002", "--twitter-id", soakStrangerID, "--handle", soakStranger)
	tied("after")
	s.runAt(s.clock.Now(), "verify")
}

// judgeReconciliation wants no break but what is one: receipts that nobody can send,
// since X takes no reply to a tweet that is gone, and edits after the confirmation.
func (s *soak) judgeReconciliation(history string) {
	s.t.Helper()
	var out, complaints strings.Builder
	env := steered(s.clock.Now(), strings.NewReader(""), &out, &complaints, s.getenv)
	code := run(s.ctx, []string{"reconcile", "tweets", "--history", history, "--format", "csv", "--from", ledger.DateIn(s.clock.Base, time.UTC).AddDays(-2).String()}, env)
	if code != exitOK && code != exitBreaks {
		s.t.Fatalf("reconcile: exit code %d: %s", code, complaints.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		fields := strings.Split(line, ",")
		if fields[0] != "break" {
			continue
		}
		say := s.told[strings.TrimPrefix(fields[3], "twitter:")]
		switch {
		case say != nil && fields[2] == "missing_outside" && (say.deleted || s.bad[say.author]):
		case say != nil && fields[2] == "edited_after_confirmation" && say.versions > 1:
		default:
			s.t.Error(line)
		}
	}
}

// judgeOrders wants exactly one order of a command, whatever happened to its tweet. An
// edit voids the order of the version before, unless that was rejected.
func (s *soak) judgeOrders(say *soakTweet, orders []payments.Order) {
	latest := 0
	for _, o := range orders {
		latest = max(latest, o.Version)
	}
	var alive []payments.Order
	for _, o := range orders {
		if o.State != payments.StateVoided && (o.State != payments.StateRejected || o.Version == latest) {
			alive = append(alive, o)
		}
	}
	switch {
	case say.deleted || s.bad[say.author]: // it may never have come
		if len(alive) > 1 {
			s.t.Errorf("tweet %s has %d orders", say.firstID, len(alive))
		}
	case say.amount == 0:
		if len(orders) != 0 {
			s.t.Errorf("tweet %s is no command and has %d orders", say.firstID, len(orders))
		}
	case len(alive) != 1 || len(orders) > say.versions:
		s.t.Errorf("tweet %s of %d versions has %d orders, %d of them alive", say.firstID, say.versions, len(orders), len(alive))
	case alive[0].Amount != say.amount && alive[0].State != payments.StatePosted:
		s.t.Errorf("tweet %s asks for %d and has an order over %d", say.firstID, say.amount, alive[0].Amount)
	}
}

// judgeAnswers wants what the outbox has sent to be on X exactly once, and nothing
// else; given up may be only what answers a tweet that is gone.
func (s *soak) judgeAnswers(rows []payments.OutboxRow) {
	onX := map[string]int{}
	for _, r := range s.sim.Replies() {
		if r.AuthorID == stageBank {
			onX[r.InReplyTo+" "+r.Text]++
		}
	}
	for i := range s.payers {
		for _, d := range s.sim.Directs(soakPayer(i)) {
			onX[d.To+" "+d.Text]++
		}
	}
	gone := map[string]bool{}
	between := false // whether the ids of a tweet that is gone are not all known
	for _, say := range s.order {
		if say.deleted || s.bad[say.author] {
			gone[say.firstID], gone[say.lastID] = true, true
			between = between || say.versions > 2
		}
	}
	answered := map[string]int{}
	for _, row := range rows {
		key := row.InReplyTo + " " + row.Text
		if row.Kind == payments.OutboxDirectMessage {
			key = row.RecipientID + " " + row.Text
		}
		if row.Kind == payments.OutboxNotice {
			continue
		}
		answered[row.InReplyTo+" "+row.Template]++
		switch {
		case row.Status == payments.OutboxSent:
			if onX[key]--; onX[key] < 0 {
				s.t.Errorf("row %s says that it was sent, and it is not on X: %s", row.ID, key)
			}
		case !between && !gone[row.InReplyTo] && !s.bad[row.RecipientID]:
			s.t.Errorf("row %s (%s) was given up: %s", row.ID, key, row.LastError)
		}
	}
	for key, n := range onX {
		if n > 0 && !gone[strings.Fields(key)[0]] {
			s.t.Errorf("said %d times too often: %s", n, key)
		}
	}
	for key, n := range answered {
		if n > 1 {
			s.t.Errorf("%d answers to %s", n, key)
		}
	}
}

// allOrders returns all orders by the first id of their message.
func (s *soak) allOrders() map[string][]payments.Order {
	s.t.Helper()
	found := map[string][]payments.Order{}
	after := payments.Cursor{}
	for {
		var page []payments.Order
		s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
			page, err = payments.ListOrders(ctx, tx, payments.OrderFilter{After: after, Limit: payments.MaxPage})
			return err
		})
		for _, o := range page {
			found[o.FirstID] = append(found[o.FirstID], o)
			after = o.Cursor()
		}
		if len(page) < payments.MaxPage {
			return found
		}
	}
}

// outbox returns all of the outbox.
func (s *soak) outbox() []payments.OutboxRow {
	s.t.Helper()
	var found []payments.OutboxRow
	seen := map[uuid.UUID]bool{}
	after := payments.Cursor{}
	for {
		var page []payments.OutboxRow
		s.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
			page, err = payments.ListOutbox(ctx, tx, payments.OutboxFilter{After: after, Limit: payments.MaxPage})
			return err
		})
		for _, row := range page {
			if !seen[row.ID] {
				found = append(found, row)
			}
			seen[row.ID], after = true, row.Cursor()
		}
		if len(page) < payments.MaxPage {
			return found
		}
	}
}

// history writes what X still shows into a file, for reconciliation: the newest
// version of each tweet, and what the bank has answered.
func (s *soak) history() string {
	s.t.Helper()
	file, err := os.Create(filepath.Join(s.t.TempDir(), "history.jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for _, say := range s.order {
		if !say.direct {
			ids = append(ids, say.firstID)
			if say.lastID != say.firstID {
				ids = append(ids, say.lastID)
			}
		}
	}
	for _, reply := range s.sim.Replies() {
		ids = append(ids, reply.ID)
	}
	const fields = "&tweet.fields=author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,referenced_tweets&expansions=author_id,entities.mentions.username"
	for len(ids) > 0 {
		page := ids[:min(100, len(ids))]
		ids = ids[len(page):]
		var w *httptest.ResponseRecorder
		for try := 0; w == nil || w.Code != http.StatusOK; try++ { // the last faults are still on order
			if try > 10 {
				s.t.Fatalf("look-up: %d %s", w.Code, w.Body)
			}
			r := httptest.NewRequest(http.MethodGet, "/2/tweets?ids="+strings.Join(page, ",")+fields, nil)
			r.Header.Set("Authorization", "Bearer "+xsim.DefaultAppToken)
			w = httptest.NewRecorder()
			s.sim.ServeHTTP(w, r)
		}
		if _, err := file.Write(w.Body.Bytes()); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
	return file.Name()
}
