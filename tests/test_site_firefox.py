"""The page without a server in Firefox: the tests are Chromium's, the browser is another."""

import browsing
import test_site as site

pytestmark = browsing.needs_firefox

browser = browsing.firefox
bundle, folder, host, photos = site.bundle, site.folder, site.host, site.photos

TESTS = (
    site.test_the_browser_answers_and_explains_as_the_service_does,
    site.test_the_browser_cuts_the_same_pixels,
    site.test_a_visitor_gets_all_of_it_and_comes_back_without_a_network,
)
globals().update({test.__name__: test for test in TESTS})
