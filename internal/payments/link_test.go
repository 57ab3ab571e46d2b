package payments_test

import (
	"strings"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// begin opens an invitation of marie's and enters the code.
func (w *world) begin() (token string, visit payments.LinkVisit) {
	w.t.Helper()
	invitation, err := w.InviteToLink(w.ctx, "c-000001", "anne")
	must(w.t, err)
	token = invitation.Address[strings.LastIndex(invitation.Address, "/")+1:]
	page, err := w.LinkPage(w.ctx, token)
	must(w.t, err)
	visit, err = w.BeginLink(w.ctx, payments.BeginLinkRequest{Token: token, Stamp: page.Stamp, Code: rightCode})
	must(w.t, err)
	return token, visit
}

func TestLinkingOnEveryEngine(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		token, visit := w.begin()
		back, err := w.EndVisit(w.ctx, visit.State, visit.Browser)
		must(t, err)
		if back.Verifier != visit.Verifier || len(back.Verifier) < 43 {
			t.Fatalf("the verifier is %q, was %q", back.Verifier, visit.Verifier)
		}
		_, err = w.EndVisit(w.ctx, visit.State, visit.Browser)
		w.wantCode(err, ledger.CodeNotFound)
		linked, err := w.FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: stranger, Handle: "marie_two"})
		must(t, err)
		if linked.UserID != stranger {
			t.Fatalf("linked %+v", linked)
		}
		_, err = w.LinkPage(w.ctx, token)
		w.wantCode(err, ledger.CodeNotFound)
		if h := w.say(stranger, toYoann); h.Order == nil || h.Order.State != held {
			t.Fatalf("the linked account: %+v", h)
		}

		must(t, w.UnlinkCustomer(w.ctx, channel, stranger, "c-000001", "anne", "sold"))
		if h := w.say(stranger, toYoann); h.Reason != payments.ReasonNotCustomer {
			t.Fatalf("the unlinked account: %+v", h)
		}
		w.wantCode(w.UnlinkCustomer(w.ctx, channel, stranger, "c-000001", "anne", "again"), ledger.CodeNotFound)
		w.wantCode(w.UnlinkCustomer(w.ctx, channel, yoann, "c-000001", "anne", "not hers"), ledger.CodeNotFound)
		w.wantCode(w.UnlinkCustomer(w.ctx, channel, marie, "c-000001", "anne", ""), ledger.CodeInvalid)
		// Who had it is not forgotten, and it can be somebody else's now.
		must(t, w.LinkCustomer(w.ctx, channel, stranger, "marie_two", "c-000002"))
	})
}

// TestAnAccountIsLinkedOnce: two customers' visits end with the same account at once.
func TestAnAccountIsLinkedOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		must(t, w.SetSecretCode(w.ctx, "c-000002", rightCode, "test"))
		var visits []payments.LinkReturn
		for _, number := range []string{"c-000001", "c-000002"} {
			invitation, err := w.InviteToLink(w.ctx, number, "anne")
			must(t, err)
			token := invitation.Address[strings.LastIndex(invitation.Address, "/")+1:]
			page, err := w.LinkPage(w.ctx, token)
			must(t, err)
			visit, err := w.BeginLink(w.ctx, payments.BeginLinkRequest{Token: token, Stamp: page.Stamp, Code: rightCode})
			must(t, err)
			back, err := w.EndVisit(w.ctx, visit.State, visit.Browser)
			must(t, err)
			visits = append(visits, back)
		}
		results := make(chan error, len(visits))
		for _, back := range visits {
			go func() {
				_, err := w.FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: stranger, Handle: "wanted"})
				results <- err
			}()
		}
		linked, refused := 0, 0
		for range visits {
			switch err := <-results; ledger.CodeOf(err) {
			case "":
				must(t, err)
				linked++
			case ledger.CodeConflict:
				refused++
			default:
				t.Fatal(err)
			}
		}
		if linked != 1 || refused != 1 {
			t.Fatalf("%d linked, %d refused", linked, refused)
		}
	})
}

func TestInvitationsToLink(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	_, err := w.InviteToLink(w.ctx, "c-000009", "anne")
	w.wantCode(err, ledger.CodeNotFound)
	_, err = w.InviteToLink(w.ctx, "c-000001", "")
	w.wantCode(err, ledger.CodeInvalid)
	must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Closed, "anne", "left"))
	_, err = w.InviteToLink(w.ctx, "c-000002", "anne")
	w.wantCode(err, ledger.CodeConflict)

	// The state of a visit that has run out is worth nothing, also to who knows both.
	_, visit := w.begin()
	w.clock.Add(10 * time.Minute)
	_, err = w.EndVisit(w.ctx, visit.State, visit.Browser)
	w.wantCode(err, ledger.CodeNotFound)

	// One customer has so many accounts, and no more.
	for i := range 9 {
		must(t, w.LinkCustomer(w.ctx, channel, "80000000"+string(rune('0'+i)), "account", "c-000001"))
	}
	_, visit = w.begin()
	back, err := w.EndVisit(w.ctx, visit.State, visit.Browser)
	must(t, err)
	_, err = w.FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: stranger, Handle: "one_more"})
	w.wantCode(err, ledger.CodeConflict)
	_, err = w.FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: "me", Handle: "not a handle"})
	w.wantCode(err, ledger.CodeInvalid)

	// Who is blocked while the channel's page is open links nothing.
	must(t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "anne", "suspicion"))
	w.exec("DELETE FROM links WHERE user_id LIKE '80000000%'")
	_, err = w.FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: stranger, Handle: "one_more"})
	w.wantCode(err, ledger.CodeNotFound)
	must(t, w.SetCustomerStatus(w.ctx, "c-000001", payments.Open, "anne", "cleared up"))

	// Nor may it have an account that is on the list of those who are not served.
	config := testConfig()
	config.Screening.DeniedIDs = []string{stranger}
	_, err = w.node(config).FinishLink(w.ctx, back, payments.Identity{Channel: channel, UserID: stranger, Handle: "denied"})
	w.wantCode(err, ledger.CodeConflict)
}

func TestLinkURL(t *testing.T) {
	for page, want := range map[string]string{
		"https://pay.test/confirm":        "https://pay.test/link",
		"https://pay.test/smoney/confirm": "https://pay.test/smoney/link",
		"https://pay.test":                "https://pay.test/link",
	} {
		config := testConfig()
		config.PageURL = page
		if got := config.LinkURL(); got != want {
			t.Errorf("%s: %s, want %s", page, got, want)
		}
	}
	config := testConfig()
	config.PageURL = "https://pay.test/link"
	if err := config.Validate(); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("two pages under one address: %v", err)
	}
}
