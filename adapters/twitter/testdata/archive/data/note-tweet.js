window.YTD.note_tweet.part0 = [ {
  "noteTweet" : {
    "noteTweetId" : "521939100000009999",
    "updatedAt" : "2014-10-15T10:06:00.000Z",
    "lifecycle" : { "value" : "1", "name" : "Active" },
    "createdAt" : "2014-10-15T10:06:00.000Z",
    "core" : { "styletags" : [ ], "urls" : [ ], "hashtags" : [ "envoyer" ], "cashtags" : [ ], "mentions" : [ ],
      "text" : "@SmoneyFR pour tout ce que tu as fait pendant le voyage, et pour le reste aussi, merci. Voilà ma part : #envoyer 42,50 € @yoann_test" }
  }
}, {
  "noteTweet" : {
    "noteTweetId" : "521939100000009998",
    "createdAt" : "2014-10-15T10:06:00.000Z",
    "core" : { "text" : "Written in the same second, and of another tweet: it must never take that one's place, however long it is itself" }
  }
} ]
