package payments

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// phrase is one thing to say, in the languages of the service and in several ways
// each: X refuses posts with the same words. %[1]s and so on are its arguments.
type phrase struct {
	french, english []string
}

// say returns the phrase in a language. about is what it is said about: the same is
// always said in the same way, at any retry.
func (p phrase) say(lang string, about uuid.UUID, args ...string) string {
	ways := p.french
	if language(lang) == English {
		ways = p.english
	}
	way := ways[int(about[len(about)-1])%len(ways)]
	pairs := make([]string, 0, 2*len(args))
	for i, arg := range args {
		pairs = append(pairs, fmt.Sprintf("%%[%d]s", i+1), arg)
	}
	return strings.NewReplacer(pairs...).Replace(way)
}

// wording is all that the service says on channels, apart from notices. What is said
// in public is for anybody to read: no balance, no limit of a person, no reason that
// is private, no address. In examples stands no handle that could be somebody's.
type wording struct {
	// To an order; 1 is the amount, 2 the payee's handle, 3 the bank's name.
	received, underReview, replaced                      phrase
	unclaimed, reminder, claimed, returned               phrase // 4: the end of the term
	donated, sent, reviewOver, neverJoined, unconfirmed  phrase
	cancelled, cancelledQuietly, failed, failedUntouched phrase
	overCap, toOneself                                   phrase // 1: the payee's handle, 2: the cap

	// To a message without an order; 1 is the bank's name or handle.
	withdrawn, invited, secretPrefix, secret phrase
	refused                                  map[RefusalCode]phrase // 1: an example, 2: the cap between people
	notUnderstood, example                   phrase

	// To the commands beside pay; 1 is the bank's handle, 2 its name.
	help, helpInPrivate                  phrase
	howToLink, linkedAlready, linkByMail phrase // of the last: 3 is the address
	balanceInPrivate, balance, held      phrase
	nothingToCancel, tooLateToCancel     phrase
	lastAnswer                           phrase
}

// words are constant.
var words = wording{
	received: phrase{
		[]string{
			"Bien reçu : %[1]s pour @%[2]s. Validez avec votre code secret sur la page dont le lien arrive sur votre téléphone.",
			"C'est noté : %[1]s pour @%[2]s. Un lien arrive sur votre téléphone : validez-y avec votre code secret.",
			"%[1]s pour @%[2]s : entrez votre code secret sur la page dont le lien arrive sur votre téléphone.",
		}, []string{
			"Got it: %[1]s for @%[2]s. Confirm with your secret code on the page whose link is coming to your phone.",
			"Noted: %[1]s for @%[2]s. A link is coming to your phone: confirm there with your secret code.",
			"%[1]s for @%[2]s: enter your secret code on the page whose link is coming to your phone.",
		}},
	unclaimed: phrase{
		[]string{
			"@%[2]s, %[1]s vous attendent jusqu'au %[4]s : ouvrez un compte %[3]s et reliez-y votre compte Twitter.",
			"@%[2]s, on vous envoie %[1]s : ouvrez un compte %[3]s et reliez-y votre compte Twitter avant le %[4]s.",
			"%[1]s attendent @%[2]s jusqu'au %[4]s : il suffit d'un compte %[3]s relié à son compte Twitter.",
		}, []string{
			"@%[2]s, %[1]s are waiting for you until %[4]s: open a %[3]s account and link your Twitter account to it.",
			"@%[2]s, %[1]s are for you: open a %[3]s account and link your Twitter account to it before %[4]s.",
			"%[1]s are waiting for @%[2]s until %[4]s: it takes a %[3]s account with a Twitter account linked to it.",
		}},
	reminder: phrase{
		[]string{
			"@%[2]s, il vous reste jusqu'au %[4]s pour recevoir %[1]s : ouvrez un compte %[3]s et reliez-y votre compte Twitter.",
			"@%[2]s, %[1]s vous attendent encore, jusqu'au %[4]s : il suffit d'un compte %[3]s relié à votre compte Twitter.",
			"Plus que jusqu'au %[4]s, @%[2]s : ouvrez un compte %[3]s, reliez-y votre compte Twitter, et %[1]s sont à vous.",
		}, []string{
			"@%[2]s, you have until %[4]s to receive %[1]s: open a %[3]s account and link your Twitter account to it.",
			"@%[2]s, %[1]s are still waiting for you, until %[4]s: it takes a %[3]s account with your Twitter account linked to it.",
			"Only until %[4]s, @%[2]s: open a %[3]s account, link your Twitter account to it, and %[1]s are yours.",
		}},
	claimed: phrase{
		[]string{"@%[2]s nous a rejoints et a reçu %[1]s.", "C'est arrivé : %[1]s pour @%[2]s.", "%[1]s sont arrivés chez @%[2]s."},
		[]string{"@%[2]s has joined and received %[1]s.", "Arrived: %[1]s for @%[2]s.", "%[1]s have reached @%[2]s."},
	},
	returned: phrase{
		[]string{
			"%[1]s pour @%[2]s n'ont pas été réclamés à temps : ils vous sont rendus.",
			"Délai passé : %[1]s pour @%[2]s reviennent à leur expéditeur.",
			"Personne n'a réclamé %[1]s pour @%[2]s à temps, ils vous sont rendus.",
		}, []string{
			"%[1]s for @%[2]s were not claimed in time: you have them back.",
			"Time is over: %[1]s for @%[2]s go back to their sender.",
			"Nobody has claimed %[1]s for @%[2]s in time; you have them back.",
		}},
	underReview: phrase{
		[]string{
			"Bien reçu : %[1]s pour @%[2]s. Nous traitons votre demande et vous répondons ici.",
			"C'est noté : %[1]s pour @%[2]s. Votre demande est en cours de traitement, la réponse viendra ici.",
			"%[1]s pour @%[2]s : nous nous en occupons et vous répondons ici.",
		}, []string{
			"Got it: %[1]s for @%[2]s. We are working on your request and will answer here.",
			"Noted: %[1]s for @%[2]s. Your request is being worked on; the answer will come here.",
			"%[1]s for @%[2]s: we are seeing to it and will answer here.",
		}},
	replaced: phrase{
		[]string{
			"Message modifié : la demande précédente est annulée. ",
			"Votre modification annule la demande précédente. ",
			"Demande précédente annulée par votre modification. ",
		}, []string{
			"Message edited: the earlier request is void. ",
			"Your edit voids the earlier request. ",
			"Earlier request void, as you edited it. ",
		}},
	donated: phrase{
		[]string{"Merci pour votre don de %[1]s à @%[2]s !", "Votre don de %[1]s à @%[2]s est fait. Merci !", "%[1]s donnés à @%[2]s : merci à vous !"},
		[]string{"Thank you for giving %[1]s to @%[2]s!", "Your donation of %[1]s to @%[2]s is made. Thank you!", "%[1]s given to @%[2]s: thank you!"},
	},
	sent: phrase{
		[]string{"C'est fait : %[1]s envoyés à @%[2]s.", "%[1]s sont partis pour @%[2]s.", "@%[2]s a reçu %[1]s."},
		[]string{"Done: %[1]s sent to @%[2]s.", "%[1]s are on their way to @%[2]s.", "@%[2]s has received %[1]s."},
	},
	reviewOver: phrase{
		[]string{
			"La demande de %[1]s pour @%[2]s n'a pas abouti à temps et a expiré. Rien n'est débité.",
			"%[1]s pour @%[2]s : la demande n'a pas abouti à temps, elle a expiré. Rien n'est débité.",
		}, []string{
			"The request for %[1]s to @%[2]s was not completed in time and has expired. Nothing was taken.",
			"%[1]s to @%[2]s: the request was not completed in time, and has expired. Nothing was taken.",
		}},
	neverJoined: phrase{
		[]string{
			"@%[2]s ne nous a pas rejoints à temps : la demande de %[1]s est close. Rien n'est débité.",
			"La demande de %[1]s est close, car @%[2]s ne nous a pas rejoints à temps. Rien n'est débité.",
			"Délai passé sans que @%[2]s nous ait rejoints : la demande de %[1]s est close, rien n'est débité.",
		}, []string{
			"@%[2]s did not join in time: the request for %[1]s is closed. Nothing was taken.",
			"The request for %[1]s is closed, since @%[2]s did not join in time. Nothing was taken.",
			"Time is over and @%[2]s has not joined: the request for %[1]s is closed, nothing was taken.",
		}},
	unconfirmed: phrase{
		[]string{
			"Sans validation de votre part, la demande de %[1]s pour @%[2]s a expiré. Rien n'est débité.",
			"La demande de %[1]s pour @%[2]s n'a pas été validée à temps et a expiré. Rien n'est débité.",
			"Délai de validation passé : la demande de %[1]s pour @%[2]s a expiré, rien n'est débité.",
		}, []string{
			"The request for %[1]s to @%[2]s was not confirmed and has expired. Nothing was taken.",
			"Not confirmed in time: the request for %[1]s to @%[2]s has expired. Nothing was taken.",
			"Time to confirm is over: the request for %[1]s to @%[2]s has expired, nothing was taken.",
		}},
	cancelled: phrase{
		[]string{
			"La demande de %[1]s pour @%[2]s est annulée. Rien n'est débité.",
			"C'est annulé : %[1]s pour @%[2]s. Rien n'est débité.",
			"Annulation faite : la demande de %[1]s pour @%[2]s est close, rien n'est débité.",
		}, []string{
			"The request for %[1]s to @%[2]s is cancelled. Nothing was taken.",
			"Cancelled: %[1]s to @%[2]s. Nothing was taken.",
			"Cancellation done: the request for %[1]s to @%[2]s is closed, nothing was taken.",
		}},
	cancelledQuietly: phrase{
		[]string{"Votre demande est annulée. Rien n'est débité.", "C'est annulé, rien n'est débité.", "Annulation faite : rien n'est débité."},
		[]string{"Your request is cancelled. Nothing was taken.", "It is cancelled, and nothing was taken.", "Cancellation done: nothing was taken."},
	},
	failed: phrase{
		[]string{"Ce paiement ne peut pas être effectué.", "Nous ne pouvons pas effectuer ce paiement.", "Désolés, ce paiement n'est pas possible."},
		[]string{"This payment cannot be made.", "We cannot make this payment.", "Sorry, this payment is not possible."},
	},
	failedUntouched: phrase{
		[]string{
			"Ce paiement ne peut pas être effectué. Rien n'est débité.",
			"Nous ne pouvons pas effectuer ce paiement ; rien n'est débité.",
			"Désolés, ce paiement n'est pas possible. Rien n'est débité.",
		}, []string{
			"This payment cannot be made. Nothing was taken.",
			"We cannot make this payment; nothing was taken.",
			"Sorry, this payment is not possible. Nothing was taken.",
		}},
	overCap: phrase{
		[]string{"Un paiement à @%[1]s ne peut pas dépasser %[2]s.", "On peut envoyer à @%[1]s %[2]s au plus par paiement.", "Le plafond d'un paiement à @%[1]s est de %[2]s."},
		[]string{"A payment to @%[1]s cannot be more than %[2]s.", "One payment to @%[1]s can be %[2]s at most.", "The cap of a payment to @%[1]s is %[2]s."},
	},
	toOneself: phrase{
		[]string{"Vous ne pouvez pas vous payer vous-même.", "On ne peut pas se payer soi-même.", "Payeur et bénéficiaire ne font qu'un : ce n'est pas possible."},
		[]string{"You cannot pay yourself.", "Nobody can pay themselves.", "Payer and payee are one: that is not possible."},
	},
	withdrawn: phrase{
		[]string{
			"Message modifié : la demande de paiement est annulée. Rien n'est débité.",
			"Vous avez modifié votre message, ce qui annule la demande de paiement. Rien n'est débité.",
			"La demande de paiement est annulée, car le message a été modifié. Rien n'est débité.",
		}, []string{
			"Message edited: the payment request is void. Nothing was taken.",
			"You have edited your message, which voids the payment request. Nothing was taken.",
			"The payment request is void, for the message was edited. Nothing was taken.",
		}},
	invited: phrase{
		[]string{
			"Pour payer par tweet, ouvrez un compte %[1]s et reliez-y votre compte Twitter.",
			"Payer par tweet est simple : ouvrez un compte %[1]s, puis reliez-y votre compte Twitter.",
			"Il vous faut un compte %[1]s relié à votre compte Twitter : après quoi, un tweet suffit pour payer.",
		}, []string{
			"To pay by tweet, open a %[1]s account and link your Twitter account to it.",
			"Paying by tweet is simple: open a %[1]s account, then link your Twitter account to it.",
			"You need a %[1]s account with your Twitter account linked to it: then a tweet is enough to pay.",
		}},
	secretPrefix: phrase{
		[]string{"Jamais de code secret ici : changez-le ! ", "N'écrivez pas de code secret ici, changez-le ! ", "Un code secret n'a pas sa place ici : changez-le ! "},
		[]string{"Never a secret code here: change it! ", "Write no secret code here, change it! ", "A secret code has no place here: change it! "},
	},
	secret: phrase{
		[]string{
			"N'écrivez jamais votre code secret ici : nous ne le demandons que sur notre page. Supprimez ce message et changez de code.",
			"Un code secret n'a pas sa place ici : nous ne le demandons que sur notre page. Supprimez ce message et changez de code.",
			"Supprimez ce message et changez de code secret : nous ne le demandons que sur notre page, jamais ici.",
		}, []string{
			"Never write your secret code here: we ask for it on our page only. Delete this message and change your code.",
			"A secret code has no place here: we ask for it on our page only. Delete this message and change your code.",
			"Delete this message and change your secret code: we ask for it on our page only, never here.",
		}},
	notUnderstood: phrase{
		[]string{"Nous n'avons pas compris.%[1]s", "Cette demande nous échappe.%[1]s", "Désolés, nous ne comprenons pas.%[1]s"},
		[]string{"We did not understand.%[1]s", "This request is beyond us.%[1]s", "Sorry, we do not understand.%[1]s"},
	},
	example: phrase{
		[]string{" Exemple : @%[1]s #envoyer 20€ @…", " Écrivez par exemple : @%[1]s #envoyer 20€ @…", " Comme ceci : @%[1]s #envoyer 20€ @…"},
		[]string{" Example: @%[1]s #send 20€ @…", " Write for example: @%[1]s #send 20€ @…", " Like this: @%[1]s #send 20€ @…"},
	},
	refused: map[RefusalCode]phrase{
		RefusedNoAmount: {
			[]string{"Quel montant ?%[1]s", "Combien ? Il manque un montant en euros.%[1]s", "Nous ne voyons pas de montant en euros.%[1]s"},
			[]string{"How much?%[1]s", "How much? An amount in euros is missing.%[1]s", "We see no amount in euros.%[1]s"},
		},
		RefusedTwoAmounts: {
			[]string{"Un seul montant par message, s'il vous plaît.%[1]s", "Il y a plusieurs montants : lequel ?%[1]s", "Nous voyons plus d'un montant, il n'en faut qu'un.%[1]s"},
			[]string{"One amount a message, please.%[1]s", "There is more than one amount: which?%[1]s", "We see several amounts, and need just one.%[1]s"},
		},
		RefusedAmbiguousAmount: {
			[]string{"Ce montant peut se lire de deux façons. Écrivez 1000€ ou 1,00€.", "Nous ne sommes pas sûrs du montant : écrivez 1000€ ou 1,00€.", "Ce montant n'est pas clair. 1000€ ou 1,00€ le sont."},
			[]string{"That amount can be read in two ways. Write 1000€ or 1.00€.", "We are not sure of the amount: write 1000€ or 1.00€.", "That amount is not clear. 1000€ or 1.00€ are."},
		},
		RefusedTooManyDecimals: {
			[]string{"Deux chiffres au plus après la virgule.%[1]s", "Le centime est la plus petite pièce : deux décimales au plus.%[1]s", "Trop de décimales : deux au plus.%[1]s"},
			[]string{"Two digits at most after the point.%[1]s", "A cent is the smallest coin: two decimals at most.%[1]s", "Too many decimals: two at most.%[1]s"},
		},
		RefusedNotPositive: {
			[]string{"Le montant doit être supérieur à zéro.%[1]s", "Il faut un montant au-dessus de zéro.%[1]s", "Zéro ou moins, ce n'est pas un montant.%[1]s"},
			[]string{"The amount must be above zero.%[1]s", "It takes an amount above zero.%[1]s", "Zero or less is no amount.%[1]s"},
		},
		RefusedCurrency: {
			[]string{"Nous n'envoyons que des euros.%[1]s", "En euros seulement, s'il vous plaît.%[1]s", "Une seule monnaie ici : l'euro.%[1]s"},
			[]string{"We send euros only.%[1]s", "In euros only, please.%[1]s", "There is one currency here: the euro.%[1]s"},
		},
		RefusedTooLarge: {
			[]string{
				"C'est plus que ce qu'un paiement peut être : %[2]s entre particuliers.",
				"Un paiement ne peut pas être si grand : %[2]s au plus entre particuliers.",
				"Entre particuliers, un paiement est de %[2]s au plus.",
			}, []string{
				"That is more than one payment may be: %[2]s between people.",
				"A payment cannot be so large: %[2]s at most between people.",
				"Between people a payment is %[2]s at most.",
			}},
		RefusedNoPayee: {
			[]string{"À qui ? Mentionnez un compte.%[1]s", "Il manque le bénéficiaire : mentionnez son compte.%[1]s", "Pour qui ? Mentionnez son compte.%[1]s"},
			[]string{"To whom? Mention an account.%[1]s", "The payee is missing: mention an account.%[1]s", "For whom? Mention their account.%[1]s"},
		},
		RefusedTwoPayees: {
			[]string{"Un seul bénéficiaire par message, s'il vous plaît.%[1]s", "Il y a plusieurs bénéficiaires : lequel ?%[1]s", "Nous voyons plus d'un bénéficiaire, il n'en faut qu'un.%[1]s"},
			[]string{"One payee a message, please.%[1]s", "There is more than one payee: which?%[1]s", "We see several payees, and need just one.%[1]s"},
		},
		RefusedSelf: {
			[]string{"Vous ne pouvez pas vous payer vous-même.", "On ne peut pas se payer soi-même.", "Payeur et bénéficiaire ne font qu'un : ce n'est pas possible."},
			[]string{"You cannot pay yourself.", "Nobody can pay themselves.", "Payer and payee are one: that is not possible."},
		},
		RefusedBank: {
			[]string{"Mentionnez aussi qui doit recevoir l'argent.%[1]s", "L'argent est pour qui ? Pas pour nous.%[1]s", "Nous ne pouvons pas être le bénéficiaire : mentionnez quelqu'un d'autre.%[1]s"},
			[]string{"Mention who is to receive the money, too.%[1]s", "Who is the money for? Not for us.%[1]s", "We cannot be the payee: mention somebody else.%[1]s"},
		},
		RefusedUnresolved: {
			[]string{"Nous ne trouvons pas ce bénéficiaire. Vérifiez son nom.%[1]s", "Ce compte nous est introuvable : vérifiez son nom.%[1]s", "Aucun compte de ce nom. Vérifiez-le.%[1]s"},
			[]string{"We cannot find that payee. Check the name.%[1]s", "We do not find that account: check its name.%[1]s", "There is no account of that name. Check it.%[1]s"},
		},
		RefusedTwoCommands: {
			[]string{"Une seule demande par message, s'il vous plaît.%[1]s", "Il y en a plusieurs : une demande à la fois, s'il vous plaît.%[1]s", "Plus d'une demande dans ce message, il n'en faut qu'une.%[1]s"},
			[]string{"One request a message, please.%[1]s", "There is more than one request: one at a time, please.%[1]s", "Several requests in this message, and we need just one.%[1]s"},
		},
	},
	help: phrase{
		[]string{
			"Pour payer : @%[1]s #envoyer 20€ @…\nPour donner : #don\nVotre solde, en privé : #solde\nAnnuler : #annuler\nRelier votre compte : #lier",
			"Écrivez « @%[1]s #envoyer 20€ @… » pour payer, #don pour donner, #annuler pour annuler, #solde pour votre solde en privé, #lier pour relier votre compte.",
			"Payer : @%[1]s #envoyer 20€ @…\nDonner : #don\nAnnuler : #annuler\nSolde, en privé : #solde\nRelier un compte : #lier",
		}, []string{
			"To pay: @%[1]s #send 20€ @…\nTo donate: #give\nYour balance, in private: #balance\nTo cancel: #cancel\nTo link your account: #link",
			"Write “@%[1]s #send 20€ @…” to pay, #give to donate, #cancel to cancel, #balance for your balance in private, #link to link your account.",
			"Pay: @%[1]s #send 20€ @…\nDonate: #give\nCancel: #cancel\nBalance, in private: #balance\nLink an account: #link",
		}},
	helpInPrivate: phrase{
		[]string{"Ici, en message privé, tout marche de même, et « @%[1]s » n'est pas nécessaire."},
		[]string{"Here, in direct messages, all works the same, and “@%[1]s” is not needed."},
	},
	howToLink: phrase{
		[]string{
			"Pour relier votre compte Twitter, demandez votre lien personnel à %[2]s ; vous le validerez avec votre code secret.",
			"Votre lien personnel se demande à %[2]s : ouvrez-le, entrez votre code secret, et votre compte Twitter est relié.",
			"Demandez à %[2]s le lien personnel qui relie votre compte Twitter. Votre code secret n'est demandé que là.",
		}, []string{
			"To link your Twitter account, ask %[2]s for your personal link; you will confirm it with your secret code.",
			"Your personal link comes from %[2]s: open it, enter your secret code, and your Twitter account is linked.",
			"A personal link from %[2]s connects your Twitter account: ask for it. Your secret code is asked for there only.",
		}},
	linkByMail: phrase{
		[]string{"Pour relier ce compte Twitter, demandez votre lien personnel à %[2]s. Il commence toujours par %[3]s/ et vous le validerez avec votre code secret."},
		[]string{"To link this Twitter account, ask %[2]s for your personal link. It always begins with %[3]s/ and you will confirm it with your secret code."},
	},
	linkedAlready: phrase{
		[]string{"Ce compte Twitter est déjà relié à votre compte %[2]s. Un lien personnel pour en relier un autre commence toujours par %[3]s/."},
		[]string{"This Twitter account is linked to your %[2]s account already. A personal link to link another one always begins with %[3]s/."},
	},
	balanceInPrivate: phrase{
		[]string{
			"Nous vous répondons par message privé.",
			"La réponse est dans vos messages privés.",
			"C'est parti, en message privé : cela ne regarde que vous.",
		}, []string{
			"We are answering by direct message.",
			"The answer is in your direct messages.",
			"On its way, by direct message: it is nobody's business but yours.",
		}},
	balance: phrase{
		[]string{"Votre solde disponible le %[2]s : %[1]s."},
		[]string{"Your available balance on %[2]s: %[1]s."},
	},
	held: phrase{
		[]string{" %[1]s de plus sont réservés à des paiements qui attendent."},
		[]string{" Another %[1]s are held for payments that are waiting."},
	},
	nothingToCancel: phrase{
		[]string{
			"Nous ne trouvons aucune demande à annuler.",
			"Il n'y a pas de demande en attente que nous puissions annuler.",
			"Rien à annuler : aucune demande n'attend.",
		}, []string{
			"We find no request to cancel.",
			"There is no waiting request that we could cancel.",
			"Nothing to cancel: no request is waiting.",
		}},
	tooLateToCancel: phrase{
		[]string{
			"Cette demande ne peut plus être annulée.",
			"Trop tard pour annuler cette demande.",
			"Cette demande est close : elle ne s'annule plus.",
		}, []string{
			"This request cannot be cancelled any more.",
			"It is too late to cancel this request.",
			"This request is closed: it can no longer be cancelled.",
		}},
	lastAnswer: phrase{
		[]string{
			"Beaucoup de messages en peu de temps : nous répondrons de nouveau demain.",
			"C'est notre dernière réponse pour aujourd'hui : vos messages sont trop nombreux.",
			"Trop de messages en 24 heures : la suite demain, s'il vous plaît.",
		}, []string{
			"Many messages in a short time: we will answer again tomorrow.",
			"This is our last answer for today: there are too many messages from you.",
			"Too many messages in 24 hours: more tomorrow, please.",
		}},
}
