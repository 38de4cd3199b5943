def case_bundle(case, reports):
    return {"resourceType": "Bundle"}
