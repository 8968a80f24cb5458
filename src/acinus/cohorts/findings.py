"""What can look wrong with a slide that can be used: one list for every family, and one gate, validate's."""

FINDINGS = {
    "background_contradicts": "px of an array are both background and a nucleus, or neither, or background has several "
    "instances: are the channels in another order?",
    "blank_mask": "the mask has no value but that of the background: nothing is drawn",
    "blank_slide": "more than 99 % of the slide is near white: there is hardly any tissue",
    "cancer_without_isup": "ISUP 0, but the mask has pixels of a positive class",
    "doubtful": "stands in a list of cohort.doubtful",
    "gleason_isup_mismatch": "the Gleason score gives another ISUP grade than the one stated",
    "isup_without_cancer": "ISUP above 0, but the mask has no pixel of a positive class",
    "mask_missing": "there is no mask; the slide serves grading only",
    "near_colours": "more of the mask's px than cohort.max_near_fraction have no class's own colour but one near to it",
    "no_tumor_outlined": "the annotation file outlines no tumour (empty, points only or cut-outs only), and nothing "
    "else says what the slide is: it has no label",
    "one_class_mask": "every px of the mask is of one class",
    "tumor_cut_away": "cut-outs or ignored regions take more of the outlined tumour than they leave",
}
"""Name, as validate.tolerate may give it -> what it means; docs/cohorts.md has them all."""
