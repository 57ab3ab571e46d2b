package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// letTamper takes away what keeps SQLite from it; the servers' grants, which do
// the same there, do not bind the owner that tests run as.
func (w *world) letTamper() {
	w.t.Helper()
	if w.db.Engine() != sqldb.SQLite {
		return
	}
	for _, table := range []string{"requests", "pages", "postings", "hold_releases", "seals"} {
		w.mustExec("DROP TRIGGER "+table+"_no_update", "DROP TRIGGER "+table+"_no_delete")
	}
	for _, table := range []string{"accounts", "balances", "holds", "periods"} {
		w.mustExec("DROP TRIGGER IF EXISTS "+table+"_fixed", "DROP TRIGGER IF EXISTS "+table+"_no_delete")
	}
	w.mustExec("DROP TRIGGER holds_ended")
}

// tampering is one change past the engine, what must be found, and the way back.
type tampering struct {
	name     string
	do, undo []string // statements
	want     []string // subject and what, of every difference
}

func TestVerifyNamesWhatWasTamperedWith(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		r := w.transfer(w.marie, w.payee, 40)
		r.Postings = append(r.Postings, ledger.Posting{Debit: w.marie.ID, Credit: w.yoann.ID, Amount: 60, Currency: ledger.EUR})
		two := w.mustPost(r)
		wrong := w.mustPost(w.transfer(w.cash, w.yoann, 7))
		back, err := w.Reverse(w.ctx, ledger.ReverseRequest{Key: w.key(), TransactionID: wrong.ID, Label: "Back"})
		if err != nil {
			t.Fatal(err)
		}
		toHold := w.holdOf(w.marie, w.yoann, 100)
		pending, posted, voided := w.mustHold(toHold), w.mustHold(w.holdOf(w.marie, w.payee, 20)), w.mustHold(w.holdOf(w.marie, w.payee, 10))
		part, err := w.PostHold(w.ctx, w.postOf(pending, 30))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := w.PostHold(w.ctx, w.postOf(posted, 0))
		if err != nil {
			t.Fatal(err)
		}
		void := ledger.VoidHoldRequest{Key: w.key(), HoldID: voided.ID}
		if _, err := w.VoidHold(w.ctx, void); err != nil {
			t.Fatal(err)
		}
		w.verify()
		w.letTamper()

		transaction := func(t ledger.Transaction) string { return "transaction " + t.ID.String() }
		posting := func(n int, t ledger.Transaction) string { return fmt.Sprintf("posting %d of %s", n, transaction(t)) }
		page := func(t ledger.Transaction) string { return fmt.Sprintf("page %d", t.Place.PageID) }
		request := func(id uuid.UUID) string { return "request " + id.String() + ": what it has" }
		hold := func(h ledger.Hold) string { return "hold " + h.ID.String() }
		set := func(table, where, do, undo string) (string, string) {
			return "UPDATE " + table + " SET " + do + " WHERE " + where, "UPDATE " + table + " SET " + undo + " WHERE " + where
		}
		no := func(a ledger.Account) string { return fmt.Sprint(w.no(a)) }
		byID := func(id uuid.UUID) string { return "id = " + w.lit(id) }
		nth := func(n int, t ledger.Transaction) string {
			return fmt.Sprintf("transaction_id = %s AND ordinal = %d", w.lit(t.ID), n)
		}
		byPage := func(t ledger.Transaction) string { return fmt.Sprintf("id = %d", t.Place.PageID) }
		at := func(t ledger.Transaction) string {
			return "'" + t.RecordedAt.Format("2006-01-02T15:04:05.000000Z") + "'"
		}
		var cases []tampering
		addAll := func(name string, do, undo []string, want ...string) {
			cases = append(cases, tampering{name, do, undo, want})
		}
		add := func(name string, do, undo string, want ...string) {
			addAll(name, []string{do}, []string{undo}, want...)
		}
		change := func(name, table, where, do, undo string, want ...string) {
			do, undo = set(table, where, do, undo)
			add(name, do, undo, want...)
		}
		restore := func(n int, t ledger.Transaction) string {
			p := t.Postings[n]
			header := "NULL, NULL, NULL, NULL"
			if n == 0 {
				header = fmt.Sprintf("%d, '%s', '%s', '%s'", len(t.Postings), t.Key, t.Journal, t.Label)
			}
			return fmt.Sprintf(`INSERT INTO postings (page_id, line, transaction_id, ordinal, debit_no, credit_no, amount, currency,
				postings, idempotency_key, journal, label) SELECT %d, %d, %s, %d, d.no, c.no, %d, '%s', %s
				FROM accounts AS d CROSS JOIN accounts AS c WHERE d.id = %s AND c.id = %s`, t.Place.PageID, t.Place.Line+int64(n),
				w.lit(t.ID), n, p.Amount, p.Currency, header, w.lit(p.Debit), w.lit(p.Credit))
		}
		// A page of the day before, as if it had been recorded together with two.
		otherPage := two
		otherPage.Place.PageID -= 1 << engine.SlotBits
		insertPage := fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
			VALUES (%d, '2014-10-13', 0, %s, 1, 2)`, otherPage.Place.PageID, at(two))
		queue := func(t ledger.Transaction) string {
			return fmt.Sprintf("INSERT INTO unsealed_pages (recorded_at, page_id) VALUES (%s, %d)", at(two), t.Place.PageID)
		}
		unqueue := func(t ledger.Transaction) string {
			return fmt.Sprintf("DELETE FROM unsealed_pages WHERE page_id = %d", t.Place.PageID)
		}
		deletePage := "DELETE FROM pages WHERE " + byPage(otherPage)
		move := func(where string, lines int64, from, to ledger.Transaction) string {
			return fmt.Sprintf("UPDATE postings SET page_id = %d, line = line + %d WHERE page_id = %d AND %s", to.Place.PageID, lines, from.Place.PageID, where)
		}
		requestOf := func(r ledger.Request) string {
			return fmt.Sprintf("INSERT INTO requests (id, request_hash, page_id, line) VALUES (%s, %s, %d, 0)",
				w.lit(ledger.IDOfKey(r.IdempotencyKey())), w.hashLit(r.Hash()), two.Place.PageID)
		}
		stray := uuid.New()
		emptyShard := fmt.Sprintf("%s AND shard = %d", w.ofAccount(w.payee), (w.Shard(4)+1)%4)
		fullShard := fmt.Sprintf("%s AND shard = %d", w.ofAccount(w.payee), w.Shard(4))

		change("balance", "balances", w.ofAccount(w.marie), "credits_posted = credits_posted + 1", "credits_posted = credits_posted - 1",
			"account marie: credits posted")
		change("both sides of a balance", "balances", w.ofAccount(w.bank), "debits_posted = 5, credits_posted = 5", "debits_posted = 0, credits_posted = 0",
			"account bank: debits posted", "account bank: credits posted")
		change("balance of a shard", "balances", fullShard, "credits_posted = credits_posted - 1", "credits_posted = credits_posted + 1",
			"account payee: credits posted")
		change("pending", "balances", w.ofAccount(w.marie), "debits_pending = debits_pending + 1", "debits_pending = debits_pending - 1",
			"account marie: debits pending")
		change("pending of the other side", "balances", w.ofAccount(w.yoann), "credits_pending = 0", "credits_pending = 70",
			"account yoann: credits pending")
		change("amount of a posting", "postings", nth(0, two), "amount = 41", "amount = 40",
			"account marie: debits posted", "account payee: credits posted")
		change("account of a posting", "postings", nth(0, two), "credit_no = "+no(w.yoann), "credit_no = "+no(w.payee),
			"account payee: credits posted", "account yoann: credits posted")
		change("sides of a posting", "postings", nth(0, two), "debit_no = credit_no, credit_no = debit_no", "debit_no = credit_no, credit_no = debit_no",
			"account marie: debits posted", "account marie: credits posted", "account payee: debits posted", "account payee: credits posted")
		add("last posting missing", "DELETE FROM postings WHERE "+nth(1, two), restore(1, two),
			transaction(two)+": number of postings", page(two)+": number of postings", "account marie: debits posted", "account yoann: credits posted")
		add("first posting missing", "DELETE FROM postings WHERE "+nth(0, two), restore(0, two), request(two.ID),
			posting(1, two)+": place on "+page(two), page(two)+": line of the next posting", page(two)+": number of postings",
			page(two)+": number of transactions", "account marie: debits posted", "account payee: credits posted")
		add("only posting missing", "DELETE FROM postings WHERE "+nth(0, wrong), restore(0, wrong), request(wrong.ID),
			page(wrong)+": number of postings", page(wrong)+": number of transactions", posting(0, back)+": posting that it undoes",
			"account cash: debits posted", "account yoann: credits posted")
		change("count of postings", "postings", nth(0, two), "postings = 3", "postings = 2", transaction(two)+": number of postings")
		change("line of a posting", "postings", nth(1, two), "line = 2", "line = 1", page(two)+": line of the next posting")
		change("transaction of a posting", "postings", nth(1, two), "transaction_id = "+w.lit(stray), "transaction_id = "+w.lit(two.ID),
			fmt.Sprintf("posting 1 of transaction %s: place on %s", stray, page(two)))
		cases[len(cases)-1].undo = []string{fmt.Sprintf("UPDATE postings SET transaction_id = %s WHERE transaction_id = %s", w.lit(two.ID), w.lit(stray))}
		addAll("posting on a page of another date", []string{insertPage, queue(otherPage), move("line = 1", -1, two, otherPage)},
			[]string{move("line = 0", 1, otherPage, two), unqueue(otherPage), deletePage},
			transaction(two)+": number of postings", posting(1, two)+": place on "+page(otherPage), page(two)+": number of postings",
			page(otherPage)+": number of postings", page(otherPage)+": number of transactions")
		addAll("transaction on a page of another date", []string{insertPage, queue(otherPage), move("line >= 0", 0, two, otherPage)},
			[]string{move("line >= 0", 0, otherPage, two), unqueue(otherPage), deletePage},
			transaction(two)+": what it has", request(two.ID), page(two)+": number of postings", page(two)+": number of transactions")
		add("page of nothing", insertPage, deletePage, page(otherPage)+": seal", page(otherPage)+": number of postings", page(otherPage)+": number of transactions")
		change("postings of a page", "pages", byPage(two), "postings = 3", "postings = 2", page(two)+": number of postings")
		change("transactions of a page", "pages", byPage(two), "transactions = 2", "transactions = 1", page(two)+": number of transactions")
		notSealed := []string{page(two) + ": seal", page(two) + ": what lists find it by: postings of 40 minor units", page(two) + ": what lists find it by: postings of 60 minor units"}
		for _, a := range []string{"marie", "payee", "yoann"} {
			notSealed = append(notSealed, "account "+a+": roll-up of 2014-10-14, recorded on 2014-10-14")
		}
		change("recorded time of a page", "pages", byPage(two), "recorded_at = '2014-10-14T08:00:00.999999Z'", "recorded_at = "+at(two),
			slices.Concat(notSealed, []string{page(two) + ": recorded time"})...)
		add("page that the sealer is not told of", unqueue(two), queue(two), notSealed...)
		if db.Engine() == sqldb.PostgreSQL { // the others refuse it while there are postings on it
			again := fmt.Sprintf("INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings) VALUES (%d, '2014-10-14', 0, %s, 1, 2)",
				two.Place.PageID, at(two))
			addAll("page missing", []string{unqueue(two), "DELETE FROM pages WHERE " + byPage(two)}, []string{again, queue(two)},
				"the book: number of postings that lie on a page", "account marie: debits posted", "account payee: credits posted", "account yoann: credits posted")
		}
		add("request missing", "DELETE FROM requests WHERE "+byID(two.ID), requestOf(r), transaction(two)+": what it has")
		change("place of a request", "requests", byID(two.ID), "line = 1", "line = 0", transaction(two)+": what it has")
		change("request without its place", "requests", byID(two.ID), "page_id = NULL, line = NULL", fmt.Sprintf("page_id = %d, line = 0", two.Place.PageID),
			transaction(two)+": what it has", request(two.ID))
		add("request of nothing", fmt.Sprintf("INSERT INTO requests (id, request_hash) VALUES (%s, %s)", w.lit(stray), w.hashLit(r.Hash())),
			"DELETE FROM requests WHERE "+byID(stray), request(stray))
		add("second request for a transaction", fmt.Sprintf("INSERT INTO requests (id, request_hash, page_id, line) VALUES (%s, %s, %d, 0)",
			w.lit(stray), w.hashLit(r.Hash()), two.Place.PageID), "DELETE FROM requests WHERE "+byID(stray), request(stray))
		change("hash of a hold", "holds", byID(pending.ID), "request_hash = "+w.hashLit(r.Hash()), "request_hash = "+w.hashLit(toHold.Hash()), hold(pending)+": what it has")
		change("hash of a release", "hold_releases", byID(ledger.IDOfKey(void.Key)), "request_hash = "+w.hashLit(r.Hash()), "request_hash = "+w.hashLit(void.Hash()),
			"release "+ledger.IDOfKey(void.Key).String()+": what it has")
		change("key of a transaction", "postings", nth(0, two), "idempotency_key = 'other'", "idempotency_key = '"+two.Key+"'",
			transaction(two)+": id for key other")
		change("key of a hold", "holds", byID(voided.ID), "idempotency_key = 'other'", "idempotency_key = '"+voided.Key+"'",
			hold(voided)+": id for key other")
		release := ledger.IDOfKey(void.Key)
		change("key of a release", "hold_releases", byID(release), "idempotency_key = 'other'", "idempotency_key = '"+void.Key+"'",
			"release "+release.String()+": id for key other")
		change("posted amount of a hold", "holds", byID(pending.ID), "posted = 29", "posted = 30",
			hold(pending)+": posted amount", "account marie: debits pending", "account yoann: credits pending")
		change("amount of a pending hold", "holds", byID(pending.ID), "amount = 101", "amount = 100",
			"account marie: debits pending", "account yoann: credits pending")
		change("amount of a voided hold", "holds", byID(voided.ID), "amount = 11", "amount = 10", hold(voided)+": released amount")
		change("accounts of a hold", "holds", byID(posted.ID), "credit_account_id = "+w.lit(w.bank.ID), "credit_account_id = "+w.lit(w.payee.ID),
			hold(posted)+": posted amount", hold(posted)+": status")
		change("pending hold that is marked as voided", "holds", byID(pending.ID), "status = 'voided', closed_at = recorded_at", "status = 'pending', closed_at = NULL",
			hold(pending)+": status", "account marie: debits pending", "account yoann: credits pending")
		change("voided hold that is marked as posted", "holds", byID(voided.ID), "status = 'posted'", "status = 'voided'", hold(voided)+": status")
		change("voided hold that is marked as pending", "holds", byID(voided.ID), "status = 'pending', closed_at = NULL", "status = 'voided', closed_at = recorded_at",
			hold(voided)+": status", "account marie: debits pending", "account payee: credits pending")
		change("posted hold that is marked as expired", "holds", byID(posted.ID), "status = 'expired'", "status = 'posted'", hold(posted)+": status")
		change("hold that a transaction posts", "postings", nth(0, part), "hold_id = "+w.lit(uuid.New()), "hold_id = "+w.lit(pending.ID),
			transaction(part)+": hold that it posts", hold(pending)+": posted amount")
		change("transaction that no longer posts a hold", "postings", nth(0, whole), "hold_id = NULL", "hold_id = "+w.lit(posted.ID),
			hold(posted)+": posted amount", hold(posted)+": status")
		change("reversal that is no mirror", "postings", nth(0, back), "amount = 8", "amount = 7",
			posting(0, back)+": posting that it undoes", "account cash: credits posted", "account yoann: debits posted")
		change("reversal of something else", "postings", nth(0, back), "reverses = "+w.lit(two.ID), "reverses = "+w.lit(wrong.ID),
			posting(0, back)+": posting that it undoes")
		change("reversal that is none any more", "postings", nth(0, back), "reverses = NULL", "reverses = "+w.lit(wrong.ID),
			posting(0, back)+": posting that it undoes")
		undoes := func(t ledger.Transaction) string {
			return fmt.Sprintf("reverses_page_id = %d, reverses_line = %d", t.Place.PageID, t.Place.Line)
		}
		change("reversal of a posting elsewhere", "postings", nth(0, back), undoes(two), undoes(wrong), posting(0, back)+": posting that it undoes")
		change("reversal of no posting", "postings", nth(0, back), "reverses_page_id = NULL, reverses_line = NULL", undoes(wrong),
			posting(0, back)+": posting that it undoes")
		change("posting that undoes one and is no reversal", "postings", nth(1, two), undoes(part), "reverses_page_id = NULL, reverses_line = NULL",
			posting(1, two)+": posting that it undoes")
		add("row of a shard missing", "DELETE FROM balances WHERE "+emptyShard,
			fmt.Sprintf("INSERT INTO balances (account_no, shard, currency, side, changed_at) VALUES (%s, %d, 'EUR', 'credit', %s)", no(w.payee), (w.Shard(4)+1)%4, at(two)),
			"account payee: number of balance rows")
		change("number of shards", "accounts", byID(w.payee.ID), "shards = 5", "shards = 4", "account payee: number of balance rows")
		change("copy of a bound", "balances", w.ofAccount(w.marie), "max_balance = 250001", "max_balance = 250000", "account marie: bounds of its balance")
		change("copy of a bound taken away", "balances", w.ofAccount(w.marie), "min_balance = NULL", "min_balance = 0", "account marie: bounds of its balance")
		change("minimum of an account", "accounts", byID(w.marie.ID), "min_balance = 5000", "min_balance = 0",
			"account marie: bounds of its balance", "account marie: available balance")
		change("maximum of an account", "accounts", byID(w.yoann.ID), "max_balance = 1", "max_balance = 250000",
			"account yoann: bounds of its balance", "account yoann: expected balance")
		change("copy of a side", "balances", w.ofAccount(w.bank), "side = 'credit'", "side = 'debit'", "account bank: side and currency of its balance")
		add("account without a balance", fmt.Sprintf(`INSERT INTO accounts (id, code, name, category, side, currency, shards, status, opened_at)
			VALUES (%s, 'ghost', 'Ghost', 'suspense', 'credit', 'EUR', 1, 'open', '2014-10-14T08:00:00.000000Z')`, w.lit(two.ID)),
			"DELETE FROM accounts WHERE code = 'ghost'", "account ghost: number of balance rows")

		refused := 0
		for _, c := range cases {
			if err := w.exec(c.do...); sqldb.ClassOf(err) == sqldb.ClassForeignKey {
				refused++ // by a foreign key that this engine has: there is nothing to find
				continue
			} else if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			report, err := w.Verify(w.ctx, nil)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			var got []string
			for _, d := range report.Differences {
				got = append(got, d.Subject+": "+d.What)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) || report.OK() {
				t.Errorf("%s: found\n  %s\nwant\n  %s", c.name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			w.mustExec(c.undo...)
		}
		if most := 2; refused > most {
			t.Errorf("the database refused %d of %d cases itself, want %d at most", refused, len(cases), most)
		}
		w.verify() // all of it was undone
	})
}

func TestVerifyReport(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	w.mustPost(w.transfer(w.cash, w.marie, 1000))
	w.mustHold(w.holdOf(w.marie, w.yoann, 1))
	var requests []ledger.Request
	for range engine.MaxDifferences + 5 {
		r := w.transfer(w.cash, w.payee, 1)
		for range 10 {
			r.Postings = append(r.Postings, r.Postings[0])
		}
		requests = append(requests, r)
	}
	outcomes, err := w.Submit(w.ctx, requests)
	if err != nil || outcomes[len(outcomes)-1].Err != nil {
		t.Fatal(err, outcomes[len(outcomes)-1].Err)
	}
	const transactions, postings = engine.MaxDifferences + 6, 11*(engine.MaxDifferences+5) + 1
	var steps [][2]int64
	report, err := w.Verify(w.ctx, func(done, total int64) { steps = append(steps, [2]int64{done, total}) })
	if err != nil || !report.OK() {
		t.Fatalf("%+v, %v", report, err)
	}
	if report.Transactions != transactions || report.Postings != postings || report.Holds != 1 || report.Accounts != 5 {
		t.Errorf("got %+v", report)
	}
	goesUp := slices.IsSortedFunc(steps, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	ofAll := !slices.ContainsFunc(steps, func(s [2]int64) bool { return s[1] != postings })
	if len(steps) < 3 || !goesUp || !ofAll || steps[0][0] != 0 || steps[1][0] == postings || steps[len(steps)-1][0] != postings {
		t.Errorf("progress was %v, want it from 0 to %d in some steps", steps, postings)
	}
	w.letTamper()
	w.mustExec("UPDATE postings SET idempotency_key = 'x' || idempotency_key WHERE ordinal = 0")
	report, err = w.Verify(w.ctx, nil)
	if err != nil || len(report.Differences) != engine.MaxDifferences || report.More != transactions-engine.MaxDifferences {
		t.Errorf("%d differences and %d more, %v", len(report.Differences), report.More, err)
	}
	d := engine.Difference{Subject: "account wallet:7", What: "debits posted", Want: "1.00", Got: "2.00"}
	if got := d.String(); got != "account wallet:7: debits posted is 2.00, but must be 1.00" {
		t.Errorf("got %q", got)
	}
}

// Verify reads one state of the book: writers do not disturb it.
func TestVerifyUnderWrites(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 100_000))
		stop, stopped := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				if _, err := w.Post(w.ctx, w.transfer(w.marie, w.payee, 1)); err != nil {
					stopped <- err
					return
				}
			}
		}()
		for range 10 {
			w.verify()
		}
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		w.verify()
	})
}
