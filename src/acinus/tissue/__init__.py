"""Where the tissue is on a slide: the rules, and the mask that they give."""
