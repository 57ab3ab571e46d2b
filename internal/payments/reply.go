package payments

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// Which words answer what. Every text in public is for anybody to read: no balance,
// no limit of a person, no reason that is private, no address (X bills posts with an
// address tenfold), and none weighs more than a post may (Weigh).

// The kinds of reply to a message that made no order; those to orders are named
// after the order's state.
const (
	templateRefused = "refused"
	templateIgnored = "ignored"
	templateNotice  = "confirm"
)

// The languages of the service.
const (
	French  = "fr"
	English = "en"
)

// language returns the language to answer in: French unless English was asked for.
func language(tag string) string {
	if tag == English || strings.HasPrefix(tag, English+"-") {
		return English
	}
	return French
}

// money writes an amount as people do: "20,00 €", "€20.00".
func money(a ledger.Amount, c ledger.Currency, lang string) string {
	number := a.Format(c)
	symbol := string(c)
	if c == ledger.EUR {
		symbol = "€"
	}
	if language(lang) == English {
		if symbol == string(c) {
			return symbol + "\u00a0" + number
		}
		return symbol + number
	}
	return strings.Replace(number, ".", ",", 1) + "\u00a0" + symbol
}

// say picks the text in a language.
func say(lang, french, english string) string {
	if language(lang) == English {
		return english
	}
	return french
}

// orderText is the reply to the message that made an order.
func orderText(o Order, config Config, replaces bool) string {
	tell := func(p phrase) string {
		return p.say(o.Language, o.ID, money(o.Amount, o.Currency, o.Language), o.PayeeHandle, config.BankName)
	}
	var text string
	switch o.State {
	case StateAwaitingConfirmation:
		text = tell(words.received)
	case StateUnderReview: // why is nobody's business
		text = tell(words.underReview)
	case StateRejected:
		text = rejectedText(o, config)
	default:
		text = closedText(o)
	}
	if replaces {
		text = words.replaced.say(o.Language, o.ID) + text
	}
	return text + reference(o)
}

// reference ends the replies to an order, for the payer to quote. Since every order
// has another one, X never sees the same words twice.
func reference(o Order) string {
	return say(o.Language, " Réf.\u00a0", " Ref.\u00a0") + o.Reference()
}

// number ends the answers to a message that made no order, as reference does those to
// orders. Staff find the message in the inbox by it.
func number(message uuid.UUID, lang string) string {
	return fmt.Sprintf(say(lang, " N°\u00a0%X", " No.\u00a0%X"), message[:numberBytes])
}

// numberBytes tells some 16 million messages apart, more than X compares.
const numberBytes = 3

// rejectedText tells in public what is anybody's to know: the rules of the
// service, never anything about the payer or the payee.
func rejectedText(o Order, config Config) string {
	switch o.Reason {
	case ReasonOverCap:
		return words.overCap.say(o.Language, o.ID, o.PayeeHandle, money(config.capFor(o.PayeeKind), o.Currency, o.Language))
	case ReasonSelfPayment:
		return words.toOneself.say(o.Language, o.ID)
	}
	return words.failed.say(o.Language, o.ID)
}

// closedText is the reply when an order ends later.
func closedText(o Order) string {
	tell := func(p phrase) string {
		return p.say(o.Language, o.ID, money(o.Amount, o.Currency, o.Language), o.PayeeHandle)
	}
	switch {
	case o.State == StatePosted && o.PayeeKind == Charity:
		return tell(words.donated)
	case o.State == StatePosted:
		return tell(words.sent)
	case o.State == StateExpired && o.Reason == ReasonReviewOver:
		return tell(words.reviewOver)
	case o.State == StateExpired && o.HoldID == uuid.Nil && o.CardID == uuid.Nil:
		return tell(words.neverJoined)
	case o.State == StateExpired:
		return tell(words.unconfirmed)
	case o.State == StateCancelled:
		return tell(words.cancelled)
	}
	return words.failedUntouched.say(o.Language, o.ID)
}

// unclaimedText says something about a payment that waits, or waited, for its payee.
func unclaimedText(p phrase, o Order, u Unclaimed, config Config, loc *time.Location) string {
	until := u.ExpiresAt.In(loc).Format(say(o.Language, "02/01 à 15h04", "2 Jan at 15:04"))
	return p.say(o.Language, o.ID, money(o.Amount, o.Currency, o.Language), o.PayeeHandle, config.BankName, until) + reference(o)
}

// withdrawnText answers an edit that is no payment any more.
func withdrawnText(o Order, lang string) string {
	o.Language = lang
	return words.withdrawn.say(lang, o.ID) + reference(o)
}

// A saying is what answers a message without an order.
type saying struct {
	lang    string
	message uuid.UUID // its row in the inbox
}

func (s saying) say(p phrase, args ...string) string { return p.say(s.lang, s.message, args...) }

// number ends the saying.
func (s saying) number() string { return number(s.message, s.lang) }

// invitation answers somebody who is no customer.
func (s saying) invitation(config Config) string {
	return s.say(words.invited, config.BankName) + s.number()
}

// secretPrefix stands before the answer to a command whose text has digits that look
// like a secret code. They are not repeated.
func (s saying) secretPrefix() string { return s.say(words.secretPrefix) }

// secret answers any other message with such digits.
func (s saying) secret() string { return s.say(words.secret) + s.number() }

// refusal says what is wrong with a command and how to write it.
func (s saying) refusal(code RefusalCode, config Config) string {
	p, ok := words.refused[code]
	if !ok {
		p = words.notUnderstood
	}
	return s.say(p, s.say(words.example, config.BankHandle), money(config.PersonCap, config.Currency, s.lang)) + s.number()
}

// noticeText calls the payer to the confirmation page. It goes to a telephone,
// not to the public, and says amount and payee (RTS 2018/389 art. 5).
func noticeText(o Order, payeeName, address string, config Config, loc *time.Location) string {
	name := "@" + o.PayeeHandle
	if payeeName != "" {
		name = payeeName + " (@" + o.PayeeHandle + ")"
	}
	until := o.ExpiresAt.In(loc)
	return fmt.Sprintf(say(o.Language, "%s : pour envoyer %s à %s, validez avant le %s : %s", "%s: to send %s to %s, confirm before %s: %s"),
		config.BankName, money(o.Amount, o.Currency, o.Language), name, until.Format(say(o.Language, "02/01 à 15h04", "2 Jan 15:04")), address)
}
