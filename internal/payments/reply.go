package payments

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/ledger"
)

// All that the service says in public, in one place. Every text is for anybody
// to read: no balance, no limit of a person, no reason that is private, no
// address (X bills posts with an address tenfold), and well under the 280
// characters of a post.

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
	amount := money(o.Amount, o.Currency, o.Language)
	var text string
	switch o.State {
	case StateAwaitingConfirmation:
		text = fmt.Sprintf(say(o.Language,
			"Bien reçu : %s pour @%s. Validez avec votre code secret sur la page dont le lien arrive sur votre téléphone.",
			"Got it: %s for @%s. Confirm with your secret code on the page whose link is coming to your phone."), amount, o.PayeeHandle)
	case StateAwaitingPayee:
		text = fmt.Sprintf(say(o.Language,
			"@%s, %s vous attendent : ouvrez un compte %s et reliez-y votre compte Twitter. Rien n'est débité d'ici là.",
			"@%s, %s are waiting for you: open a %s account and link your Twitter account to it. Nothing is taken until then."),
			o.PayeeHandle, amount, config.BankName)
	case StateUnderReview: // why is nobody's business
		text = fmt.Sprintf(say(o.Language,
			"Bien reçu : %s pour @%s. Nous traitons votre demande et vous répondons ici.",
			"Got it: %s for @%s. We are working on your request and will answer here."), amount, o.PayeeHandle)
	case StateRejected:
		text = rejectedText(o, config)
	default:
		text = closedText(o)
	}
	if replaces {
		text = say(o.Language, "Message modifié : la demande précédente est annulée. ", "Message edited: the earlier request is void. ") + text
	}
	return text + reference(o)
}

// reference ends the replies to an order. It also makes two of them differ: X
// refuses posts with the same words.
func reference(o Order) string {
	return say(o.Language, " Réf.\u00a0", " Ref.\u00a0") + o.Reference()
}

// rejectedText tells in public what is anybody's to know: the rules of the
// service, never anything about the payer or the payee.
func rejectedText(o Order, config Config) string {
	switch o.Reason {
	case ReasonOverCap:
		return fmt.Sprintf(say(o.Language, "Un paiement à @%s ne peut pas dépasser %s.", "A payment to @%s cannot be more than %s."),
			o.PayeeHandle, money(config.capFor(o.PayeeKind), o.Currency, o.Language))
	case ReasonSelfPayment:
		return say(o.Language, "Vous ne pouvez pas vous payer vous-même.", "You cannot pay yourself.")
	}
	return say(o.Language, "Ce paiement ne peut pas être effectué.", "This payment cannot be made.")
}

// closedText is the reply when an order ends later.
func closedText(o Order) string {
	amount := money(o.Amount, o.Currency, o.Language)
	switch {
	case o.State == StatePosted && o.PayeeKind == Charity:
		return fmt.Sprintf(say(o.Language, "Merci pour votre don de %s à @%s !", "Thank you for giving %s to @%s!"), amount, o.PayeeHandle)
	case o.State == StatePosted:
		return fmt.Sprintf(say(o.Language, "C'est fait : %s envoyés à @%s.", "Done: %s sent to @%s."), amount, o.PayeeHandle)
	case o.State == StateExpired && o.Reason == ReasonReviewOver:
		return fmt.Sprintf(say(o.Language, "La demande de %s pour @%s n'a pas abouti à temps et a expiré. Rien n'est débité.",
			"The request for %s to @%s was not completed in time and has expired. Nothing was taken."), amount, o.PayeeHandle)
	case o.State == StateExpired && o.HoldID == uuid.Nil:
		return fmt.Sprintf(say(o.Language, "@%[2]s ne nous a pas rejoints à temps : la demande de %[1]s est close. Rien n'est débité.",
			"@%[2]s did not join in time: the request for %[1]s is closed. Nothing was taken."), amount, o.PayeeHandle)
	case o.State == StateExpired:
		return fmt.Sprintf(say(o.Language, "Sans validation de votre part, la demande de %s pour @%s a expiré. Rien n'est débité.",
			"The request for %s to @%s was not confirmed and has expired. Nothing was taken."), amount, o.PayeeHandle)
	case o.State == StateCancelled:
		return fmt.Sprintf(say(o.Language, "La demande de %s pour @%s est annulée. Rien n'est débité.",
			"The request for %s to @%s is cancelled. Nothing was taken."), amount, o.PayeeHandle)
	}
	return say(o.Language, "Ce paiement ne peut pas être effectué. Rien n'est débité.", "This payment cannot be made. Nothing was taken.")
}

// withdrawnText answers an edit that is no command any more.
func withdrawnText(o Order, lang string) string {
	o.Language = lang
	return say(lang, "Message modifié : la demande de paiement est annulée. Rien n'est débité.",
		"Message edited: the payment request is void. Nothing was taken.") + reference(o)
}

// invitationText answers somebody who is no customer.
func invitationText(config Config, lang string) string {
	return fmt.Sprintf(say(lang, "Pour payer par tweet, ouvrez un compte %s et reliez-y votre compte Twitter.",
		"To pay by tweet, open a %s account and link your Twitter account to it."), config.BankName)
}

// secretWarningPrefix stands before the reply to a command whose text has digits
// that look like a secret code. They are not repeated.
func secretWarningPrefix(lang string) string {
	return say(lang, "Jamais de code secret ici : changez-le ! ", "Never a secret code here: change it! ")
}

// secretWarning answers any other message with such digits.
func secretWarning(lang string) string {
	return say(lang,
		"N'écrivez jamais votre code secret ici : nous ne le demandons que sur notre page. Supprimez ce message et changez de code.",
		"Never write your secret code here: we ask for it on our page only. Delete this message and change your code.")
}

// refusalText says what is wrong with a command and how to write it.
func refusalText(code RefusalCode, config Config, lang string) string {
	example := fmt.Sprintf(say(lang, " Exemple : @%s #envoyer 20€ @ami", " Example: @%s #send 20€ @friend"), config.BankHandle)
	switch code {
	case RefusedNoAmount:
		return say(lang, "Quel montant ?", "How much?") + example
	case RefusedTwoAmounts:
		return say(lang, "Un seul montant par message, s'il vous plaît.", "One amount a message, please.") + example
	case RefusedAmbiguousAmount:
		return say(lang, "Ce montant peut se lire de deux façons. Écrivez 1000€ ou 1,00€.", "That amount can be read in two ways. Write 1000€ or 1.00€.")
	case RefusedTooManyDecimals:
		return say(lang, "Deux chiffres au plus après la virgule.", "Two digits at most after the point.") + example
	case RefusedNotPositive:
		return say(lang, "Le montant doit être supérieur à zéro.", "The amount must be above zero.") + example
	case RefusedCurrency:
		return say(lang, "Nous n'envoyons que des euros.", "We send euros only.") + example
	case RefusedTooLarge:
		return fmt.Sprintf(say(lang, "C'est plus que ce qu'un paiement peut être : %s entre particuliers.", "That is more than one payment may be: %s between people."),
			money(config.PersonCap, config.Currency, lang))
	case RefusedNoPayee:
		return say(lang, "À qui ? Mentionnez un compte.", "To whom? Mention an account.") + example
	case RefusedTwoPayees:
		return say(lang, "Un seul bénéficiaire par message, s'il vous plaît.", "One payee a message, please.") + example
	case RefusedSelf:
		return say(lang, "Vous ne pouvez pas vous payer vous-même.", "You cannot pay yourself.")
	case RefusedBank:
		return say(lang, "Mentionnez aussi qui doit recevoir l'argent.", "Mention who is to receive the money, too.") + example
	case RefusedUnresolved:
		return say(lang, "Nous ne trouvons pas ce bénéficiaire. Vérifiez son nom.", "We cannot find that payee. Check the name.") + example
	case RefusedTwoCommands:
		return say(lang, "Une seule demande par message, s'il vous plaît.", "One request a message, please.") + example
	}
	return say(lang, "Nous n'avons pas compris.", "We did not understand.") + example
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
