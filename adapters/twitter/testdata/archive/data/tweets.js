window.YTD.tweets.part0 = [
  {
    "tweet" : {
      "edit_info" : { "initial" : { "editTweetIds" : [ "521939100000000001" ], "editableUntil" : "2014-10-14T10:31:40.000Z", "editsRemaining" : "5", "isEditEligible" : true } },
      "retweeted" : false,
      "entities" : { "hashtags" : [ { "text" : "envoyer", "indices" : [ "10", "18" ] } ], "user_mentions" : [ { "name" : "S-money", "screen_name" : "SmoneyFR", "indices" : [ "0", "9" ], "id_str" : "700000001", "id" : "700000001" }, { "name" : "Action", "screen_name" : "ACF_France", "indices" : [ "26", "37" ], "id_str" : "700000201", "id" : "700000201" } ], "urls" : [ ] },
      "favorite_count" : "3",
      "id_str" : "521939100000000001",
      "id" : "521939100000000001",
      "created_at" : "Tue Oct 14 09:31:40 +0000 2014",
      "full_text" : "@SmoneyFR #envoyer 100EUR @ACF_France faites comme moi &amp; donnez !",
      "a_field_of_the_future" : { "nested" : [ 1, 2, 3 ] },
      "lang" : "fr"
    }
  },
  {
    "tweet" : {
      "edit_info" : { "edit" : { "initialTweetId" : "521939100000000006", "editControlInitial" : { "editTweetIds" : [ "521939100000000006", "521939100000000007" ], "editsRemaining" : "4" } } },
      "entities" : { "user_mentions" : [ { "screen_name" : "SmoneyFR", "id_str" : "700000001", "id" : "700000001" }, { "screen_name" : "yoann_test", "id_str" : "700000102", "id" : "700000102" } ] },
      "id_str" : "521939100000000007",
      "created_at" : "Tue Oct 14 12:05:00 +0000 2014",
      "full_text" : "@SmoneyFR #envoyer 15€ @yoann_test",
      "lang" : "fr"
    }
  },
  {
    "tweet" : {
      "entities" : { "user_mentions" : [ { "screen_name" : "yoann_test", "id_str" : "700000102", "id" : "700000102" }, { "screen_name" : "parti", "id_str" : "-1", "id" : "-1" } ] },
      "id_str" : "521939100000000008",
      "created_at" : "Tue Oct 14 12:06:00 +0000 2014",
      "full_text" : "RT @yoann_test: @SmoneyFR #envoyer 15€ @parti",
      "lang" : "fr"
    }
  }
]
