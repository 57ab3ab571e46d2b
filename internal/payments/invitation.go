package payments

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Linking an account takes three proofs: the address of an invitation, which the
// bank hands to its customer; the customer's secret code, since whoever links an
// account decides who pays and is paid (PSD2 art. 97(1)(c)); and the channel's own
// word on which account it is. A visit to the channel's page begins and ends in
// the same browser: else somebody could begin one and have another person end it.

const (
	// visitTerm is how long a visit to the channel's page may take: a password and a
	// second factor, with time to look for the telephone.
	visitTerm = 10 * time.Minute
	// maxLinks bounds the accounts of one customer.
	maxLinks = 10
	// ActorPage stands in the audit trail for a customer who acts on the bank's page.
	ActorPage = "page"
)

// Invitation is an address under which a customer links an account.
type Invitation struct {
	Address   string // secret: who has it and the secret code may link
	ExpiresAt time.Time
}

// invitation is one as it is kept.
type invitation struct {
	id         uuid.UUID
	customerID uuid.UUID
	expiresAt  time.Time
}

// Identity is who a channel says somebody is.
type Identity struct {
	Channel string
	UserID  string // numeric id: it binds
	Handle  string // without @: it binds nothing
}

// LinkURL returns where customers link accounts: beside the confirmation pages, so
// "https://pay.example/link" where PageURL is "https://pay.example/confirm".
func (c Config) LinkURL() string { return c.beside("link") }

// beside returns the address of pages with a name beside the confirmation pages.
func (c Config) beside(name string) string {
	origin := strings.Index(c.PageURL, "://") + len("://")
	if slash := strings.LastIndexByte(c.PageURL, '/'); slash > origin {
		return c.PageURL[:slash] + "/" + name
	}
	return c.PageURL + "/" + name
}

// InviteToLink makes an address under which a customer links an account. It ends
// the customer's earlier one. A closed customer is CodeConflict.
func (s *Service) InviteToLink(ctx context.Context, customerNumber, actor string) (Invitation, error) {
	return s.invite(ctx, customerNumber, actor, inviting{table: "link_invitations", address: s.config.LinkURL(), token: s.linkToken,
		ends: ", state_hash = NULL, browser_hash = NULL, state_expires_at = NULL", event: "link_invited", reason: "address to link an account"})
}

// inviting says what a customer is invited to.
type inviting struct {
	table, address string
	token          func(id uuid.UUID) string
	ends           string // what ends with an earlier invitation, in SQL
	event, reason  string // in the customer's history
}

func (s *Service) invite(ctx context.Context, customerNumber, actor string, to inviting) (Invitation, error) {
	if err := validText("actor", actor, maxActor); err != nil {
		return Invitation{}, err
	}
	id, err := s.newID()
	if err != nil {
		return Invitation{}, err
	}
	now := s.engine.Now()
	made := Invitation{Address: to.address + "/" + to.token(id), ExpiresAt: now.Add(s.config.LinkTerm)}
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil {
			return err
		}
		if c.Status == Closed {
			return ledger.Errorf(ledger.CodeConflict, "customer %s is closed", c.Number).InField("customer")
		}
		var there int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+to.table+" WHERE id = $1", []any{id}, &there); err != nil || there > 0 {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE "+to.table+" SET closed_at = $1"+to.ends+" WHERE customer_id = $2 AND closed_at IS NULL", now, c.ID)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO "+to.table+" (id, customer_id, token_hash, actor, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
			id, c.ID, hashToken(to.token(id)), actor, now, made.ExpiresAt)
		if err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: to.event, Reason: to.reason})
	})
	if err != nil {
		return Invitation{}, fmt.Errorf("invite customer %s (%s): %w", clip(customerNumber), to.reason, err)
	}
	return made, nil
}

// linkToken returns the secret part of an invitation's address.
func (s *Service) linkToken(id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.link, []byte("invitation"), id[:]))
}

// LinkPage is what the page under an invitation shows.
type LinkPage struct {
	CustomerNumber string
	PhoneEnd       string // the last two digits, by which the customer knows that the page is the own one
	Accounts       []Link // that are linked already
	ExpiresAt      time.Time
	Stamp          string // to come back with the code
}

// phoneEnd is how many digits of a telephone number a page shows.
const phoneEnd = 2

// LinkPage returns what the page of an invitation shows. An address that was never
// given out, was used or has expired is CodeNotFound.
func (s *Service) LinkPage(ctx context.Context, token string) (LinkPage, error) {
	now := s.engine.Now()
	var page LinkPage
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := openInvitation(ctx, tx, token, now)
		if err != nil {
			return err
		}
		c, err := FindCustomerByID(ctx, tx, i.customerID)
		if err != nil {
			return err
		}
		accounts, err := ListLinks(ctx, tx, c.ID)
		page = LinkPage{CustomerNumber: c.Number, PhoneEnd: c.Phone[len(c.Phone)-phoneEnd:], Accounts: accounts, ExpiresAt: i.expiresAt, Stamp: s.linkStamp(i.id, now)}
		return err
	})
	return page, err
}

func openInvitation(ctx context.Context, tx *sqldb.Tx, token string, now time.Time) (invitation, error) {
	if len(token) != tokenLength {
		return invitation{}, errNoInvitation()
	}
	return oneInvitation(ctx, tx, "token_hash = $1 AND closed_at IS NULL AND expires_at > $2", hashToken(token), now)
}

func errNoInvitation() error {
	return ledger.Errorf(ledger.CodeNotFound, "this address to link an account is not, or no longer, good; ask for a new one")
}

func oneInvitation(ctx context.Context, tx *sqldb.Tx, where string, args ...any) (invitation, error) {
	var i invitation
	err := tx.QueryRow(ctx, "SELECT id, customer_id, expires_at FROM link_invitations WHERE "+where, args, &i.id, &i.customerID, &i.expiresAt)
	if sqldb.IsNoRows(err) {
		return invitation{}, errNoInvitation()
	}
	if err != nil {
		return invitation{}, fmt.Errorf("find an invitation to link an account: %w", err)
	}
	return i, nil
}

// linkStamp signs that the page of an invitation was shown at a time.
func (s *Service) linkStamp(id uuid.UUID, at time.Time) string {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(stamp, mac(s.keys.link, []byte("form"), stamp, id[:])...))
}

func (s *Service) checkLinkStamp(id uuid.UUID, stamp string, now time.Time) error {
	raw, err := base64.RawURLEncoding.DecodeString(stamp)
	if err != nil || len(raw) < 8 || !hmac.Equal(raw[8:], mac(s.keys.link, []byte("form"), raw[:8], id[:])) {
		return ledger.Errorf(ledger.CodeInvalid, "this page is not up to date; open the address again").InField("stamp")
	}
	age := now.Sub(time.UnixMicro(int64(binary.BigEndian.Uint64(raw))))
	if age < -maxClockSkew || age > s.config.PageIdle {
		return ledger.Errorf(ledger.CodeInvalid, "this page was open for more than %d minutes; open the address again",
			int(s.config.PageIdle.Minutes())).InField("stamp")
	}
	return nil
}

// BeginLinkRequest is a customer's secret code on the page of an invitation.
type BeginLinkRequest struct {
	Token string // of the invitation's address
	Stamp string // as LinkPage returned it
	Code  string // 6 digits
}

// LinkVisit is a visit to the channel's page, on which the customer says which
// account is theirs. Nothing of it is kept but hashes.
type LinkVisit struct {
	State    string // goes with the customer to the channel, and comes back once
	Browser  string // stays in the browser that began
	Verifier string // of PKCE (RFC 7636): proves to the channel that who asks is who began
	Term     time.Duration
}

// errNotLinked is the one answer to everything that is wrong with who asks.
func errNotLinked() error {
	return ledger.Errorf(ledger.CodeForbidden, "the account was not linked; check what you entered, or contact us")
}

// BeginLink begins a visit to the channel's page for a customer who knows the
// secret code. Wrong codes count as they do on the confirmation page, and are
// CodeForbidden, always with the same words. A visit that was begun before under
// the same invitation is over.
func (s *Service) BeginLink(ctx context.Context, r BeginLinkRequest) (LinkVisit, error) {
	if err := validSecret(r.Code); err != nil {
		return LinkVisit{}, err
	}
	now := s.engine.Now()
	var i invitation
	var c Customer
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if i, err = openInvitation(ctx, tx, r.Token, now); err != nil {
			return err
		}
		c, err = FindCustomerByID(ctx, tx, i.customerID)
		return err
	})
	if err != nil {
		return LinkVisit{}, err
	}
	if err := s.checkLinkStamp(i.id, r.Stamp, now); err != nil {
		return LinkVisit{}, err
	}
	tried, err := s.tryCode(ctx, c, r.Code)
	if err != nil {
		return LinkVisit{}, err
	}
	if !tried.right {
		if tried.last {
			s.recordBlock(ctx, c, ActorPage)
		}
		s.log.InfoContext(ctx, "account not linked", "customer", c.Number)
		return LinkVisit{}, errNotLinked()
	}
	state, err := s.secretText()
	if err != nil {
		return LinkVisit{}, err
	}
	browser, err := s.secretText()
	if err != nil {
		return LinkVisit{}, err
	}
	err = s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomerByID(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		if c.Status != Open {
			return errNotLinked()
		}
		if err := secretAccepted(ctx, tx, c.ID); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `UPDATE link_invitations SET state_hash = $1, browser_hash = $2, state_expires_at = $3
			WHERE id = $4 AND closed_at IS NULL AND expires_at > $5`, hashToken(state), hashToken(browser), now.Add(visitTerm), i.id, now)
		if err == nil && n != 1 {
			err = errNoInvitation()
		}
		return err
	})
	if err != nil {
		return LinkVisit{}, err
	}
	return LinkVisit{State: state, Browser: browser, Verifier: s.verifier(state), Term: visitTerm}, nil
}

// secretText returns 32 random bytes in base64.
func (s *Service) secretText() (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// verifier returns the PKCE verifier of a visit. It follows from the state and a
// key that is not in the database, so that it is kept nowhere.
func (s *Service) verifier(state string) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.keys.link, []byte("verifier"), []byte(state)))
}

// LinkReturn is a customer who has come back from the channel's page.
type LinkReturn struct {
	Verifier   string
	invitation uuid.UUID
	customer   uuid.UUID
}

// EndVisit ends the visit with a state, which is good once, for ten minutes, and in
// the browser that began; otherwise CodeNotFound.
func (s *Service) EndVisit(ctx context.Context, state, browser string) (LinkReturn, error) {
	if len(state) != tokenLength || len(browser) != tokenLength {
		return LinkReturn{}, errNoInvitation()
	}
	attempt := hashToken(state)
	now := s.engine.Now()
	var back LinkReturn
	err := s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := oneInvitation(ctx, tx, "state_hash = $1 AND browser_hash = $2 AND state_expires_at > $3 AND closed_at IS NULL AND expires_at > $3",
			attempt, hashToken(browser), now)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE link_invitations SET state_hash = NULL, browser_hash = NULL, state_expires_at = NULL WHERE id = $1 AND state_hash = $2",
			i.id, attempt)
		if err == nil && n != 1 {
			err = errNoInvitation() // another request with the same state was faster
		}
		back = LinkReturn{Verifier: s.verifier(state), invitation: i.id, customer: i.customerID}
		return err
	})
	if err != nil {
		return LinkReturn{}, err
	}
	return back, nil
}

// FinishLink links the account that the channel has named, and closes the
// invitation. A customer who was blocked or closed meanwhile is CodeNotFound. An account of somebody else, one too many, or the bank's own is
// CodeConflict, and stands in the customer's history.
func (s *Service) FinishLink(ctx context.Context, back LinkReturn, who Identity) (Link, error) {
	l := Link{Channel: who.Channel, UserID: who.UserID, Handle: who.Handle, CustomerID: back.customer}
	if err := l.validate(); err != nil {
		return Link{}, err
	}
	now := s.engine.Now()
	l.LinkedAt = now
	var refused error
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		refused = nil
		if _, err := oneInvitation(ctx, tx, "id = $1 AND closed_at IS NULL AND expires_at > $2", back.invitation, now); err != nil {
			linked, findErr := FindLink(ctx, tx, l.Channel, l.UserID)
			if findErr == nil && linked.CustomerID == l.CustomerID {
				return nil // an earlier run of this function was committed after all
			}
			return err
		}
		if c, err := FindCustomerByID(ctx, tx, back.customer); err != nil || c.Status != Open { // staff were faster
			return cmp.Or(err, errNoInvitation())
		}
		event := PartyEvent{At: now, Actor: ActorPage, Event: "linked", Reason: describe(l)}
		if refused = s.mayLink(ctx, tx, l); refused != nil {
			if code := ledger.CodeOf(refused); code != ledger.CodeConflict {
				return refused
			}
			event.Event = "link_refused"
			return recordPartyEvent(ctx, tx, back.customer, event)
		}
		if err := s.linkTx(ctx, tx, l); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE link_invitations SET closed_at = $1 WHERE id = $2", now, back.invitation); err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, back.customer, event)
	})
	if err != nil {
		return Link{}, fmt.Errorf("link user %s of %s: %w", l.UserID, l.Channel, err)
	}
	return l, refused
}

// mayLink returns why a customer may not have an account, or nil.
func (s *Service) mayLink(ctx context.Context, tx *sqldb.Tx, l Link) error {
	if strings.EqualFold(l.Handle, s.config.BankHandle) {
		return ledger.Errorf(ledger.CodeConflict, "user %s of %s is the bank", l.UserID, l.Channel).InField("user_id")
	}
	if s.isDenied(l.UserID) {
		return ledger.Errorf(ledger.CodeConflict, "user %s of %s is not accepted", l.UserID, l.Channel).InField("user_id")
	}
	before, err := FindLink(ctx, tx, l.Channel, l.UserID)
	switch {
	case err == nil && before.CustomerID != l.CustomerID:
		return errLinkedElsewhere(l)
	case err == nil:
		return nil
	case ledger.CodeOf(err) != ledger.CodeNotFound:
		return err
	}
	others, err := ListLinks(ctx, tx, l.CustomerID)
	if err != nil {
		return err
	}
	if len(others) >= maxLinks {
		return ledger.Errorf(ledger.CodeConflict, "the customer has %d accounts, which is the most; unlink one first", len(others)).InField("user_id")
	}
	return nil
}

// describe names an account in a history.
func describe(l Link) string { return fmt.Sprintf("%s %s (@%s)", l.Channel, l.UserID, l.Handle) }
