"""What matters first of the page and the game, in Firefox: the tests are Chromium's, the browser is another."""

import browsing
import test_page_game as game
import test_page_passing_on as passing_on
import test_page_sending as sending
import test_page_verdict as verdict

pytestmark = browsing.needs_firefox

browser, visit = browsing.firefox, browsing.visit
bundle, photos, answered = verdict.bundle, verdict.photos, verdict.answered
server, sent, nothing_sent = sending.server, sending.sent, sending.nothing_sent

TESTS = (
    verdict.test_an_answer_below_the_threshold_names_no_country_and_says_why,
    verdict.test_an_answer_above_it_is_a_heading_with_flag_probability_and_record,
    verdict.test_a_model_that_never_reached_the_share_is_what_is_blamed,
    verdict.test_all_views_of_a_wide_photo_are_framed_and_explained,
    game.test_photos_without_coordinates_are_played_country_against_country,
    verdict.test_a_pin_outside_the_headlines_country_says_why,
    passing_on.test_an_example_is_answered_with_its_credit,
    verdict.test_what_the_model_knows_is_one_click_away,
    verdict.test_lines_and_views_of_the_map_go_the_shorter_way_round,
    sending.test_what_did_not_reach_the_server_is_said_and_sent_again,
    sending.test_a_large_photo_is_sent_as_large_as_the_model_needs_and_without_its_exif,
    verdict.test_the_map_leaves_the_wheel_to_the_page_and_can_be_set_back,
)
globals().update({test.__name__: test for test in TESTS})
